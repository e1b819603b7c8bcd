"""Companies that are mapped but missing from the counts are named, with what they go on being billed."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import literal

from cwclient.simulator import StateDocument
from messages import BillingPeriod, MappingCheckRequested, PushCompleted, PushRequested
from store import absent, completions, mappings
from store.schema import UtcTime
from tests.support.case import Case
from tests.support.reverting import carried_out, completion_of, revert_of
from tests.support.waiting import wait_for
from tests.support.world import now

DECEMBER = BillingPeriod.parse("2026-12")


def _completed(case: Case, push: PushRequested) -> PushCompleted:
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) not in {None, "accepted"}, "the push's end")
    with case.world.database.begin() as tx:
        ended = completions.of_push(tx, push.partner_id, push.push_id)
    assert ended is not None
    return ended


def _absent(completed: PushCompleted) -> list[tuple[str, float | None]]:
    missing = completed.absent
    assert missing is not None
    assert missing.companies == len(missing.named)
    assert missing.quantity == sum(one.quantity or 0 for one in missing.named)
    return [(one.company_id, one.quantity) for one in missing.named]


def test_a_company_that_has_left_the_counts_is_named(case: Case) -> None:
    """A completed push or preview names it with what was last checked, found or written, a revert does not."""
    assert _absent(_completed(case, case.world.push("p1", {1: 5}))) == [("c2", 1)]
    pushed = case.world.push("p1", {1: 6, 2: 7, 3: 4})
    ended = _completed(case, pushed)
    assert _absent(ended) == []
    assert ended.totals.model_dump(exclude_defaults=True) == {
        "imported": {"companies": 3, "users": 17},
        "written": {"companies": 2, "users": 13},
        "skipped": {"companies": 1, "users": 4},
    }
    preview = case.world.push("p1", {1: 6}, period=DECEMBER).model_copy(update={"mode": "preview"})
    ended = _completed(case, preview)
    assert _absent(ended) == [("c2", 7)]
    assert ended.totals.unchanged.users == ended.totals.imported.users == 6

    revert = revert_of(pushed)
    assert {one.status for one in carried_out(case.world, revert).values()} == {"updated"}
    reverted = completion_of(case.world, revert)
    assert reverted is not None
    assert reverted.absent is None
    assert _absent(_completed(case, case.world.push("p1", {3: 1}))) == [("c1", 5), ("c2", 1)]


def test_of_a_shared_addition_each_company_is_its_own_users(case: Case) -> None:
    """Of a sum the company that is missing still has the users it was pushed with last, not those of the others."""
    third = {"company_id": "c3", "company_name": "Company 3", "rule": "sum"}
    one = case.world.mapped("p1", 1)
    shared = [one.model_copy(update={"rule": "sum"}), case.world.mapped("p1", 1).model_copy(update=third)]
    case.world.publish(*shared)
    wait_for(lambda: {event.changed_at for event in shared} <= case.checked_versions(), "the mappings' checks")
    assert _absent(_completed(case, case.world.push("p1", {1: 4, 3: 9}))) == [("c2", 1)]
    ended = _completed(case, case.world.push("p1", {1: 4, 2: 1}))
    assert _absent(ended) == [("c3", 9)]
    assert ended.totals.held.companies == 1


def _at_the_terminal(case: Case, *command: str, code: int = 0) -> Any:
    done = case.world.command(*command, "--partner", "p1")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in command else " ".join(done.stdout.split())


def test_the_terminal_shows_the_sum_and_the_absent(case: Case) -> None:
    """Preview, push and status say what was imported, what became of it, and which mapped companies were not there."""
    counts = Path(case.world.folder, "counts.csv")
    counts.write_text("company_id,company_name,billable_users\nc1,Company 1,5\nc3,Company 3,4\n", "utf-8")
    push = ("push", "--period", "2026-11", "--counts", str(counts))
    names = "Mapped, not in this push: 1 company, still billed 1 user: Company 2 (1)"
    shown = _at_the_terminal(case, *push, "--preview")
    assert f"Imported 2 companies (9 users) = 1 to be written (5) + 1 not mapped (4) {names}" in shown
    shown = _at_the_terminal(case, *push)
    assert f"Imported 2 companies (9 users) = 1 written (5) + 1 not mapped (4) {names}" in shown
    told = _at_the_terminal(case, *push, "--json")
    assert told["totals"]["unchanged"] == {"companies": 1, "users": 5}
    assert (told["absent"]["companies"], told["absent"]["quantity"]) == (1, 1)
    shown = _at_the_terminal(case, "status")
    assert "Mapped, not in any push of 2026-11: 1 company, still billed 1 user: Company 2 (1)" in shown


@pytest.mark.parametrize(
    "changes", [{"cancelledDate": "2026-10-31T00:00:00Z"}, {"billCustomer": "DoNotBill"}], ids=["cancelled", "no bill"]
)
def test_what_connectwise_does_not_bill_is_told_apart(case: Case, changes: dict[str, Any]) -> None:
    """A company whose addition was ended on purpose is no alarm: it is not among the users that are still billed."""
    case.world.simulator.state.change("cw-p1", "additions", 100_002, **changes)
    _check_all(case)
    ended = _completed(case, case.world.push("p1", {1: 5})).absent
    assert ended is not None
    assert (ended.companies, ended.quantity, ended.unknown, ended.not_billed) == (1, 0, 0, 1)
    shown = _at_the_terminal(case, "status")
    assert "1 company, of these 1 not billed in ConnectWise: Company 2 (not billed)" in shown


def test_a_line_that_was_refused_tells_that_nothing_is_billed(case: Case) -> None:
    """A finding of the last push counts like one of a check, until a newer one finds it mended."""
    for changes, counted in (({"billCustomer": "DoNotBill"}, 1), ({"billCustomer": "Billable"}, 0)):
        case.world.simulator.state.change("cw-p1", "additions", 100_002, **changes)
        case.push(3, companies=(2,))
        ended = _completed(case, case.world.push("p1", {1: 5})).absent
        assert ended is not None
        assert (ended.not_billed, ended.quantity) == (counted, 0 if counted else 3)


def test_an_end_to_come_is_billed_until_then(case: Case) -> None:
    """A line may be held for a period that reaches beyond the end of its agreement: that end has not come yet."""
    for day, counted in (("2035-01-10", 0), ("2026-10-31", 1)):
        case.world.simulator.state.change("cw-p1", "agreements", 1002, endDate=f"{day}T00:00:00Z")
        _check_all(case)
        held = case.push(7, period=BillingPeriod.parse("2035-01"), companies=(2,))["c2"]
        assert [why.code for why in held.reasons] == ["agreement_expired"]
        ended = _completed(case, case.world.push("p1", {1: 5})).absent
        assert ended is not None
        assert (ended.not_billed, ended.quantity) == (counted, 1 - counted)


def test_an_end_that_has_come_since_is_billed_no_more(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was held before the end of its agreement tells, after that day, that nothing is billed."""
    case.world.simulator.state.change("cw-p1", "agreements", 1002, endDate="2035-01-10T00:00:00Z")
    _check_all(case)
    assert case.push(7, period=BillingPeriod.parse("2035-01"), companies=(2,))["c2"].status == "held"
    query = absent._ANSWERED
    company_id, result, _ = query.selected_columns
    for day, counted in ((10, 0), (11, 1)):
        clock = literal(datetime(2035, 1, day, tzinfo=UTC), UtcTime())
        monkeypatch.setattr(absent, "_ANSWERED", query.with_only_columns(company_id, result, clock))
        ended = _completed(case, case.world.push("p1", {1: 5})).absent
        assert ended is not None
        assert (ended.not_billed, ended.quantity) == (counted, 1 - counted)


def test_a_late_push_revives_nothing(case: Case) -> None:
    """October is pushed after its addition has ended with it: nothing is billed any more, until a later day is."""
    case.world.simulator.state.merge(StateDocument(closed_records="accept"))
    for end, counted in (("2026-10-31", 1), ("2035-10-31", 0)):
        case.world.simulator.state.change("cw-p1", "additions", 100_002, cancelledDate=f"{end}T00:00:00Z")
        _check_all(case)
        assert case.push(7, period=BillingPeriod.parse("2026-10"), companies=(2,))["c2"].status in {
            "updated",
            "unchanged",
        }
        ended = _completed(case, case.world.push("p1", {1: 5})).absent
        assert ended is not None
        assert (ended.not_billed, ended.quantity) == (counted, 0 if counted else 7)


def test_what_is_counted_for_its_cost_only_is_not_billed(case: Case) -> None:
    """A mapping that allows what is not Billable is checked and written like any other, but nobody is billed for it."""
    allowed = case.world.mapped("p1", 2).model_copy(update={"allow_not_billable": True})
    case.world.simulator.state.change("cw-p1", "additions", 100_002, billCustomer="DoNotBill")
    case.world.publish(allowed)
    wait_for(lambda: allowed.changed_at in case.checked_versions(), "the check")
    ended = _completed(case, case.world.push("p1", {1: 5})).absent
    assert ended is not None
    assert (ended.quantity, ended.not_billed) == (0, 1)
    for setting, quantity in (("DoNotBill", 0), ("Billable", 4)):
        case.world.simulator.state.change("cw-p1", "additions", 100_002, billCustomer=setting)
        assert case.push(4, companies=(2,))["c2"].status in {"updated", "unchanged"}
        ended = _completed(case, case.world.push("p1", {1: 5})).absent
        assert ended is not None
        assert (ended.quantity, ended.not_billed) == (quantity, int(not quantity))


def _check_all(case: Case) -> None:
    """Have all mappings checked, and wait for it."""
    at = now()
    case.world.publish(
        MappingCheckRequested(partner_id="p1", correlation_id="h", requested_at=at, requested_by="ana@msp.example")
    )

    def is_checked() -> bool:
        with case.world.database.begin() as tx:
            found = mappings.of_partner(tx, "p1")
        return all(one.check is not None and one.check["time"] > at.isoformat() for one in found)

    wait_for(is_checked, "the checks")
