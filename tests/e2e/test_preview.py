"""A preview says what the push will do, line by line, and does none of it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from cwclient.simulator import StateDocument
from messages import MappingChanged, PushRequested, SyncResult
from store import mappings
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY, World

COMPANIES = 200
USERS = 30
KINDS = 40
"""Company n is of kind n % KINDS. Those that are not named here have 1 in ConnectWise and 30 users."""

ADDITIONS: dict[int, dict[str, Any]] = {
    0: {"quantity": USERS},
    1: {"quantity": 28.5},
    2: {"cancelledDate": "2026-01-01T00:00:00Z"},
    3: {"billCustomer": "DoNotBill"},
    4: {"effectiveDate": "2099-01-01T00:00:00Z"},
    5: {"quantity": 80, "lessIncluded": 40, "unitPrice": 2.5},
    6: {"quantity": 25, "lessIncluded": 5, "unitPrice": 2.5},
    24: {"additionStatus": "Inactive"},
    25: {"additionStatus": "Cancelled"},
    28: {"cancelledDate": "2026-11-15T00:00:00Z"},
    29: {"effectiveDate": "2026-11-15T00:00:00Z"},
}
AGREEMENTS: dict[int, dict[str, Any]] = {
    6: {"nextInvoiceDate": "2027-01-01T00:00:00Z"},
    18: {"cancelledFlag": True, "dateCancelled": "2026-10-31T00:00:00Z"},
    19: {"cancelledFlag": True},
    20: {"endDate": "2026-10-31T00:00:00Z"},
    21: {"startDate": "2099-01-01T00:00:00Z"},
    22: {"agreementStatus": "Inactive"},
    23: {"agreementStatus": "Expired"},
    34: {"type": {"id": 2, "name": "Hidden"}},
}
NOBODY, DELETED, PRODUCT_CHANGED = 15, 17, 27


def _mapped(world: World, number: int) -> MappingChanged | None:
    """The mapping of company n; None = it has none."""
    mapped = world.mapped("p1", number)
    shared = {"cw_company_id": number - 1, "agreement_id": 999 + number, "addition_id": 99_999 + number}
    changes: dict[int, dict[str, Any]] = {
        8: {"addition_id": None},
        9: {"addition_id": 900_000 + number},
        10: {"minimum": 45},
        11: {"rule": "sum"},
        12: {**shared, "rule": "sum"},
        14: shared,
        16: {"cw_company_id": number - 1},
        26: {"addition_id": 200_000 + number + 1},
        32: {"rule": "sum"},
        # Its sum with 32 has an agreement that is not of the company that 33 is mapped to.
        33: {**shared, "rule": "sum", "cw_company_id": number},
        35: {"agreement_id": 900_000 + number},
    }
    return None if number % KINDS == 7 else mapped.model_copy(update=changes.get(number % KINDS, {}))


def _document() -> StateDocument:
    """The special companies, agreements and additions in ConnectWise."""
    numbers = range(1, COMPANIES + 1)
    tenant = {
        "company_identifier": "cw-p1",
        "keys": [{"public": "public", "private": PRIVATE_KEY, "rights": {"agreement_types": ["Managed Services"]}}],
        "companies": [{"id": n, "deletedFlag": True} for n in numbers if n % KINDS == DELETED],
        "agreements": [
            {"id": 1000 + n, "company": {"id": n}} | AGREEMENTS[n % KINDS] for n in numbers if n % KINDS in AGREEMENTS
        ],
        "additions": [
            {"id": 100_000 + n, "agreementId": 1000 + n} | ADDITIONS[n % KINDS]
            for n in numbers
            if n % KINDS in ADDITIONS
        ],
    }
    return StateDocument.model_validate({"foreign_additions": "accept", "tenants": [tenant]})


def _invalid(world: World, count: int) -> set[str] | None:
    """The companies whose mapping the last check found invalid; None until so many are checked."""
    with world.database.begin() as tx:
        found = mappings.of_partner(tx, "p1")
    if len([mapping for mapping in found if mapping.check]) < count:
        return None
    return {mapping.company_id for mapping in found if mapping.check and mapping.check["status"] == "invalid"}


def _calls(world: World, since: int, pattern: str) -> Counter[tuple[str, int]]:
    """The number of requests since then on records at paths like this, by method and the record's number."""
    found = [(one["method"], re.search(pattern, one["path"])) for one in world.simulator.log[since:]]
    return Counter((method, int(match[1])) for method, match in found if match)


def _said(answer: SyncResult) -> tuple[object, ...]:
    """The outcome that a line of a push tells, or that a line of a preview foretells."""
    status: str = answer.status
    if status == "preview":
        status = "unchanged" if answer.quantity_before == answer.quantity_wanted else "updated"
    return (
        status,
        answer.quantity_before,
        answer.quantity_wanted,
        [problem.code for problem in answer.reasons],
        answer.problem and answer.problem.code,
    )


def _answers(world: World, push: PushRequested) -> dict[str, SyncResult]:
    world.publish(push)
    wait_for(lambda: world.state_of(push) == "completed", "the push", 120)
    return {company: answer for company, answer in world.answers(push).items() if answer is not None}


def test_the_push_does_what_the_preview_said(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """For 200 companies with all that a check can find and every other case: same status, quantities and reasons."""
    with World(amqp_url, postgresql_url, tmp_path, companies=COMPANIES, big_jump_count=40) as world:
        numbers = range(1, COMPANIES + 1)
        world.simulator.state.merge(_document())
        connection, mapped = world.connected("p1"), [one for n in numbers if (one := _mapped(world, n)) is not None]
        world.publish(connection, *mapped)
        world.start_worker()
        wait_for(lambda: _invalid(world, len(mapped)) is not None, "the checks", 120)
        for number in (n for n in numbers if n % KINDS == PRODUCT_CHANGED):
            world.simulator.state.change(
                "cw-p1", "additions", 100_000 + number, product={"id": 6, "identifier": "BACKUP"}
            )
        counts = dict.fromkeys(numbers, USERS) | {n: 0 for n in numbers if n % KINDS == NOBODY}
        # Company 12 has a sum with 11; the last one's partner is not pushed.
        del counts[171]
        push = world.push("p1", counts, connection=connection, mappings=mapped)
        preview = push.model_copy(update={"push_id": "preview", "mode": "preview"})

        foreseen = _answers(world, preview)
        assert world.writes() == []
        assert world.ledger() == []

        asked = len(world.simulator.log)
        done = _answers(world, push)
        assert {c: _said(answer) for c, answer in done.items()} == {c: _said(answer) for c, answer in foreseen.items()}
        assert {str(answer.status) for answer in done.values()} == {"updated", "unchanged", "held", "failed", "skipped"}
        told = [problem for answer in done.values() for problem in (*answer.reasons, answer.problem) if problem]
        assert {problem.code for problem in told} == {
            "addition_cancelled", "addition_elsewhere", "addition_not_active", "addition_not_begun",
            "agreement_cancelled", "agreement_elsewhere", "agreement_expired", "agreement_inactive",
            "agreement_not_begun", "below_included", "big_jump", "company_deleted", "group_incomplete",
            "mapping_unfinished", "not_billable", "product_changed", "record_not_found", "restricted_agreement",
            "shared_addition", "sharing_refused", "unmapped", "zero",
        }  # fmt: skip
        invalid = _invalid(world, len(mapped))
        assert invalid is not None
        assert not [c for c in invalid if done[c].status in {"updated", "unchanged"}]
        calls = _calls(world, asked, r"/additions/(\d+)$")
        written = {addition for method, addition in calls if method == "PATCH"}
        assert not written & {one.addition_id for one in mapped if one.company_id in invalid}

        # One PATCH a line, and one GET, unless a run that took too long on this machine was cut between the two;
        # besides, what a check found is asked again, once.
        assert {count for (method, _), count in calls.items() if method == "PATCH"} == {1}
        assert set(calls.values()) <= {1, 2}
        agreements = _calls(world, asked, r"/agreements/(\d+)$")
        doubtful = {one.agreement_id for one in mapped if one.company_id in invalid}
        assert {agreement for _, agreement in agreements} <= doubtful
        assert set(agreements.values()) == {1}
        money = foreseen["c6"]
        assert (money.difference, money.amount, money.amount_difference) == (5, 62.5, 12.5)
        assert [warning.code for warning in money.warnings] == ["maybe_invoiced"]
        assert foreseen["c5"].amount_difference == -100
        # The amounts are of what would be written: a program that adds them up has what the push changes.
        assert {answer.amount for answer in foreseen.values() if answer.status == "failed"} == {None}

        count = len(world.writes())
        again = _answers(world, preview.model_copy(update={"push_id": "preview-2"}))
        assert {answer.difference for answer in again.values() if answer.status == "preview"} == {0}
        assert len(world.writes()) == count
        assert {c: answer and answer.id for c, answer in world.answers(push).items()} == {
            c: answer.id for c, answer in done.items()
        }
