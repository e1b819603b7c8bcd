"""The ledger: every write to ConnectWise, known before it is made and closed once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from store import Database, ledger, now, past_writes
from store.ledger import Closing, LedgerEntry, OpenEntry, Outcome
from store.mappings import Addition
from store.schema import ledger as table
from tests.support.samples import NOVEMBER, OCTOBER, PARTNER, TENANT

ENTRY = LedgerEntry(
    addition=(7, 11),
    push_id="p-1",
    period_key=NOVEMBER.key,
    period_start=NOVEMBER.start,
    period_end=NOVEMBER.end,
    company_ids=("c-1", "c-2"),
    quantity_before=4.0,
    quantity_wanted=42.0,
)


def _open(database: Database, *entries: LedgerEntry, tenant: str = TENANT) -> dict[Addition, OpenEntry]:
    with database.partner(PARTNER) as tx:
        return ledger.open_entries(tx, PARTNER, tenant, entries, [75.0] * len(entries))


def _close(database: Database, entry_id: int, outcome: Outcome = "written", after: float | None = 42.0) -> None:
    with database.partner(PARTNER) as tx:
        ledger.close(tx, [Closing(entry_id, outcome, after, 200)])


def _still_open(database: Database, tenant: str = TENANT) -> dict[Addition, OpenEntry]:
    with database.begin() as tx:
        return ledger.still_open(tx, PARTNER, tenant)


def test_an_open_write_is_found_by_the_next_worker(database: Database) -> None:
    """A worker that is killed in the middle of a write leaves word of what it was, and until when it may still land."""
    other = replace(ENTRY, addition=(7, 12), quantity_before=None)
    opened = _open(database, ENTRY, other)
    assert _still_open(database) == opened
    first = opened[7, 11]
    assert replace(ENTRY) == LedgerEntry(**{name: getattr(first, name) for name in ENTRY.__dataclass_fields__})
    with database.begin() as tx:
        assert timedelta(seconds=60) < first.call_until - now(tx) <= timedelta(seconds=75)


def test_a_second_open_write_to_an_addition_is_refused(database: Database) -> None:
    """Two workers that both believe to hold the partner cannot both write."""
    _open(database, ENTRY)
    with pytest.raises(IntegrityError):
        _open(database, replace(ENTRY, push_id="p-2"))


def test_another_tenants_addition_of_the_same_id_is_another(database: Database) -> None:
    """A partner that moved to another ConnectWise is not held up by the old one."""
    _open(database, ENTRY)
    _open(database, ENTRY, tenant="eu.myconnectwise.net acme")
    assert len(_still_open(database)) == 1


def test_a_write_is_closed_once(database: Database) -> None:
    """The first word on how a write ended stays; the addition may be written again."""
    entry = _open(database, ENTRY)[7, 11]
    _close(database, entry.id)
    _close(database, entry.id, "refused", None)
    assert _still_open(database) == {}
    with database.begin() as tx:
        row = tx.execute(select(table)).one()
    assert (row.outcome, row.quantity_after, row.http_status) == ("written", 42.0, 200)
    assert row.closed_at >= row.opened_at
    _open(database, ENTRY)


def test_a_write_that_was_not_sent_leaves_no_row(database: Database) -> None:
    """A reader of the ledger sees what left for ConnectWise; a row that is closed already stays."""
    other = replace(ENTRY, addition=(7, 12))
    opened = _open(database, ENTRY, other)
    _close(database, opened[7, 12].id)
    for entry in opened.values():
        _close(database, entry.id, "not_sent", None)
    with database.begin() as tx:
        rows = [(row.addition_id, row.outcome) for row in tx.execute(select(table))]
    assert rows == [(12, "written")]


def test_what_a_push_may_have_left_is_known(database: Database) -> None:
    """A push may have left what it wrote last, or a later write that did not show as it was sent, or not at all."""
    writes: list[tuple[float, Outcome, float | None]] = [
        (9.0, "not_kept", 3.0),
        (42.0, "written", 42.0),
        (50.0, "not_kept", 48.0),
        (60.0, "unknown", None),
        (70.0, "refused", None),
    ]
    for wanted, outcome, after in writes:
        _close(database, _open(database, replace(ENTRY, quantity_wanted=wanted))[7, 11].id, outcome, after)
    _open(database, replace(ENTRY, quantity_wanted=80.0))
    with database.begin() as tx:
        assert past_writes.quantities_left_by(tx, PARTNER, "p-1", TENANT, (7, 11)) == {42.0, 50.0, 48.0, 60.0, 80.0}
        assert past_writes.quantities_left_by(tx, PARTNER, "p-2", TENANT, (7, 11)) == set()
        assert [one.quantity_wanted for one in past_writes.writes_of_push(tx, PARTNER, "p-1")] == [
            9.0,
            42.0,
            50.0,
            60.0,
            80.0,
        ]


def test_a_period_counts_only_if_it_was_written(database: Database) -> None:
    """A month that never reached an addition does not keep an older one from it."""
    earlier = replace(ENTRY, period_key=OCTOBER.key, period_start=OCTOBER.start, period_end=OCTOBER.end)
    for entry, outcome in ((ENTRY, "written"), (earlier, "written"), (replace(earlier, addition=(7, 12)), "written")):
        _close(database, _open(database, entry)[entry.addition].id, outcome)  # type: ignore[arg-type]
    _close(database, _open(database, replace(ENTRY, addition=(7, 12)))[7, 12].id, "refused", None)
    _open(database, replace(ENTRY, addition=(7, 13)))
    with database.begin() as tx:
        traces = past_writes.written_quantities(tx, PARTNER, TENANT, [(7, 11), (7, 12), (7, 13)])
        assert past_writes.written_quantities(tx, PARTNER, "other", [(7, 11)]) == []
        assert past_writes.written_quantities(tx, PARTNER, TENANT, []) == []
    november, october = (NOVEMBER.start, NOVEMBER.end), (OCTOBER.start, OCTOBER.end)
    written = [(trace.addition, trace.days) for trace in traces if trace.is_certain]
    assert written == [((7, 11), november), ((7, 11), october), ((7, 12), october)]
    assert [trace.addition for trace in traces if not trace.is_certain] == [(7, 13)]
