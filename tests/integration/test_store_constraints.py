"""Constraints: a wrong line of code is an error and never a wrong invoice."""

from typing import Any

import pytest
from sqlalchemy import CheckConstraint, insert
from sqlalchemy.exc import IntegrityError

from store import Database
from store.database import Tx
from store.schema import metadata
from tests.support.samples import NOVEMBER, PARTNER, TEN, TENANT, minute

# One valid row of each table; `pushes`, `push_lines` and `syncs` belong together.
ROWS: dict[str, dict[str, Any]] = {
    "connections": {
        "partner_id": PARTNER,
        "changed_at": TEN,
        "message_id": "m-1",
        "disconnected": False,
        "tenant": TENANT,
        "key_id": "k-1",
        "box": "sealed",
    },
    "mappings": {
        "partner_id": PARTNER,
        "company_id": "c-1",
        "changed_at": TEN,
        "message_id": "m-1",
        "company_name": "Acme",
        "cw_company_id": 1,
        "agreement_id": 7,
        "addition_id": 11,
        "rule": "refuse",
    },
    "pushes": {
        "partner_id": PARTNER,
        "push_id": "p-1",
        "message_id": "m-1",
        "correlation_id": "q-1",
        "requested_at": TEN,
        "requested_by": "ana",
        "period_start": NOVEMBER.start,
        "period_end": NOVEMBER.end,
        "period_key": NOVEMBER.key,
        "mode": "apply",
        "body_hash": "hash",
        "line_count": 1,
        "accepted_at": TEN,
        "state": "accepted",
    },
    "push_lines": {
        "partner_id": PARTNER,
        "push_id": "p-1",
        "company_id": "c-1",
        "company_name": "Acme",
        "billable_users": 5,
        "status": "pending",
    },
    "syncs": {
        "partner_id": PARTNER,
        "company_id": "c-1",
        "period_key": NOVEMBER.key,
        "period_start": NOVEMBER.start,
        "period_end": NOVEMBER.end,
        "billable_users": 5,
        "requested_at": TEN,
        "push_id": "p-1",
        "accepted_at": TEN,
        "due_at": TEN,
    },
    "leases": {"partner_id": PARTNER},
    "ledger": {
        "partner_id": PARTNER,
        "tenant": TENANT,
        "agreement_id": 7,
        "addition_id": 11,
        "push_id": "p-1",
        "period_key": NOVEMBER.key,
        "period_start": NOVEMBER.start,
        "period_end": NOVEMBER.end,
        "companies_json": "[]",
        "quantity_wanted": 5.0,
        "opened_at": TEN,
        "call_until": TEN,
    },
    "outbox": {
        "message_id": "m-1",
        "not_before": TEN,
        "exchange": "connectwise.sync",
        "routing_key": "sync.result.v1",
        "properties_json": "{}",
        "body": b"{}",
    },
    "dead_letters": {
        "id": "d-1",
        "queue": "connectwise.push.requested.v1",
        "properties_json": "{}",
        "body": b"{}",
        "reason": "contract",
        "error": "what",
        "fingerprint": "0" * 16,
        "attempts": 1,
        "first_failed_at": TEN,
        "last_failed_at": TEN,
    },
    "in_hand": {"queue": "q", "message_key": "m-1", "tries": 1, "since": TEN},
    "catalog_questions": {
        "partner_id": PARTNER,
        "message_id": "m-1",
        "asked_at": TEN,
        "event_json": "{}",
        "due_at": TEN,
    },
    "operations": {
        "id": "o-1",
        "kind": "replay",
        "origin": "page",
        "begun_by": "ana",
        "chosen_json": "{}",
        "begun_at": TEN,
        "state": "running",
        "batch_seconds": 60.0,
        "total": 1,
    },
    "operation_letters": {"operation_id": "o-1", "position": 0, "letter_id": "d-1", "state": "waiting"},
    "portal_counts": {
        "partner_id": PARTNER,
        "period_key": NOVEMBER.key,
        "company_id": "c-1",
        "company_name": "Acme",
        "billable_users": 5,
        "imported_at": TEN,
        "imported_by": "ana",
    },
}

# What a revert's line has besides.
RESTORE = {
    "restore_tenant": TENANT,
    "restore_agreement_id": 7,
    "restore_addition_id": 11,
    "restore_quantity": 4.5,
    "restore_holds": 5.0,
}

IMPOSSIBLE: list[tuple[str, str, dict[str, Any]]] = [
    ("connections", "tombstone_has_no_tenant", {"disconnected": True, "box": None, "key_id": None}),
    ("connections", "tombstone_has_no_tenant", {"tenant": None}),
    ("connections", "tombstone_has_no_key", {"disconnected": True, "tenant": None}),
    (
        "connections",
        "tombstone_needs_no_check",
        {"disconnected": True, "tenant": None, "box": None, "key_id": None, "check_due_at": TEN},
    ),
    ("connections", "box_names_its_key", {"key_id": None}),
    ("connections", "base_url_has_its_time", {"base_url": "https://na.myconnectwise.net/v2025_1/apis/3.0"}),
    ("mappings", "rule", {"rule": "split"}),
    ("mappings", "minimum", {"minimum": -1}),
    ("mappings", "agreement_needs_company", {"cw_company_id": None}),
    ("mappings", "addition_needs_agreement", {"agreement_id": None}),
    ("pushes", "mode", {"mode": "dry-run"}),
    ("pushes", "a_revert_names_its_push", {"mode": "revert"}),
    ("pushes", "a_revert_names_its_push", {"reverts": "p-0"}),
    ("pushes", "state", {"state": "lost", "completed_json": "{}"}),
    ("pushes", "completion_is_kept", {"state": "completed"}),
    ("pushes", "completion_is_kept", {"completed_json": "{}"}),
    ("pushes", "period", {"period_end": NOVEMBER.start.replace(month=10)}),
    ("push_lines", "status", {"status": "done", "result_json": "{}", "result_id": "r-1"}),
    ("push_lines", "billable_users", {"billable_users": -1}),
    ("push_lines", "billable_users", {"billable_users": 1_000_001}),
    ("push_lines", "every_answer_is_kept", {"status": "updated"}),
    ("push_lines", "every_answer_is_kept", {"result_json": "{}", "result_id": "r-1"}),
    ("push_lines", "every_answer_has_an_id", {"status": "updated", "result_json": "{}"}),
    ("push_lines", "only_final_is_reported", {"reported": True}),
    (
        "push_lines",
        "answered_is_not_due",
        {"status": "updated", "result_json": "{}", "result_id": "r-1", "preview_due_at": TEN},
    ),
    *(("push_lines", "restore_is_whole", {**RESTORE, name: None}) for name in RESTORE),
    ("push_lines", "restore_can_be_written", {**RESTORE, "restore_quantity": -1.0}),
    ("syncs", "billable_users", {"billable_users": -1}),
    ("syncs", "settled_version_is_whole", {"settled_push_id": "p-0"}),
    ("syncs", "due_until_settled", {"due_at": None}),
    ("syncs", "due_until_settled", {"settled_push_id": "p-1", "settled_requested_at": TEN}),
    ("syncs", "due_until_settled", {"due_at": None, "settled_push_id": "p-1", "settled_requested_at": minute(-1)}),
    ("leases", "held_or_free", {"token": "t-1"}),
    ("leases", "a_pause_has_a_reason", {"paused_until": TEN}),
    ("leases", "unreachable_since_the_first", {"unreachable_count": 1}),
    ("ledger", "open_or_closed", {"outcome": "refused"}),
    ("ledger", "open_or_closed", {"closed_at": TEN}),
    ("ledger", "outcome", {"outcome": "lost", "closed_at": TEN}),
    ("ledger", "written_means_kept", {"outcome": "written", "closed_at": TEN, "quantity_after": 4.0}),
    ("ledger", "written_means_kept", {"outcome": "written", "closed_at": TEN, "quantity_after": None}),
    ("outbox", "claimed_or_free", {"claim_token": "t-1"}),
    ("dead_letters", "state", {"state": "gone"}),
    ("in_hand", "tries", {"tries": 0}),
    ("catalog_questions", "due_until_answered", {"answer_json": "{}"}),
    ("catalog_questions", "due_until_answered", {"event_json": None, "due_at": None}),
    ("catalog_questions", "what_was_asked_is_kept_until_answered", {"event_json": None}),
    ("operations", "state", {"state": "lost", "ended_at": TEN}),
    ("operations", "ended_or_running", {"ended_at": TEN}),
    ("operations", "ended_or_running", {"state": "ended"}),
    ("operations", "stopped_for_a_reason", {"state": "stopped", "ended_at": TEN}),
    ("operations", "claimed_or_free", {"claim_token": "t-1"}),
    ("operation_letters", "state", {"state": "lost"}),
    ("operation_letters", "a_refusal_has_a_reason", {"state": "refused"}),
    ("operation_letters", "a_refusal_has_a_reason", {"state": "came back"}),
    ("portal_counts", "billable_users", {"billable_users": -1}),
    ("portal_counts", "billable_users", {"billable_users": 1_000_001}),
]


# What two rows must not share is their natural key; these have a number instead.
NUMBERED = {"ledger", "outbox"}


PARENTS = {"push_lines": ("pushes",), "syncs": ("pushes", "push_lines"), "operation_letters": ("operations",)}


def _insert(tx: Tx, table: str, **changes: Any) -> None:
    tx.execute(insert(metadata.tables[table]).values(ROWS[table] | changes))


def _insert_parents(database: Database, table: str) -> None:
    with database.begin() as tx:
        for parent in PARENTS.get(table, ()):
            _insert(tx, parent)


@pytest.mark.parametrize("table", ROWS)
def test_impossible_states_are_refused(database: Database, table: str) -> None:
    """The database keeps no row that contradicts itself, whatever the code does."""
    _insert_parents(database, table)
    for one, constraint, changes in IMPOSSIBLE:
        if one == table:
            with pytest.raises(IntegrityError, match=f"ck_{table}_{constraint}"), database.begin() as tx:
                _insert(tx, table, **changes)
    with database.begin() as tx:
        _insert(tx, table)


def test_every_check_is_provoked() -> None:
    """A check that is added gets its case here."""
    checks = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert {f"ck_{table}_{constraint}" for table, constraint, _ in IMPOSSIBLE} == checks


@pytest.mark.parametrize("table", sorted(ROWS.keys() - NUMBERED))
def test_nothing_is_there_twice(database: Database, table: str) -> None:
    """A row that has a natural key is there once: a push, a line of it, a target, a lease."""
    _insert_parents(database, table)
    with database.begin() as tx:
        _insert(tx, table)
    with pytest.raises(IntegrityError), database.begin() as tx:
        _insert(tx, table)


def test_an_addition_has_one_open_write(database: Database) -> None:
    """Two writes to one addition cannot be under way at once, whatever the workers believe."""
    with database.begin() as tx:
        _insert(tx, "ledger", addition_id=12)
        _insert(tx, "ledger", outcome="refused", closed_at=TEN)
        _insert(tx, "ledger")
    with pytest.raises(IntegrityError), database.begin() as tx:
        _insert(tx, "ledger", push_id="p-2")


@pytest.mark.parametrize("table", sorted(PARENTS))
def test_nothing_hangs_in_the_air(database: Database, table: str) -> None:
    """There is no line without its push, no target without its line, no letter of an action without that."""
    with pytest.raises(IntegrityError), database.begin() as tx:
        _insert(tx, table)
