"""Dates of additions and agreements are compared, as days, with the period that is billed."""

from typing import Any

import pytest

from cwclient.simulator import StateDocument
from messages import BillingPeriod, Confirmation, PushRequested, SyncResult
from tests.support.case import Case, code
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for

OCTOBER, NOVEMBER, DECEMBER = map(BillingPeriod.parse, ("2026-10", "2026-11", "2026-12"))


def _day(text: str) -> str:
    return f"{text}T00:00:00Z"


def _done(case: Case, push: PushRequested) -> SyncResult:
    """Send the push; the answer for company 1."""
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    return answer


def _confirming(push: PushRequested, held: SyncResult) -> PushRequested:
    confirmation = Confirmation(
        company_id="c1",
        reasons=tuple(problem.code for problem in held.reasons),
        quantity_before=held.quantity_before or 0,
        quantity_wanted=held.quantity_wanted,
    )
    return push.model_copy(update={"confirmations": (confirmation,)})


ADDITION: list[tuple[dict[str, Any], BillingPeriod, str | None]] = [
    ({"cancelledDate": _day("2026-11-30")}, NOVEMBER, None),
    ({"cancelledDate": _day("2026-10-31")}, OCTOBER, None),
    ({"effectiveDate": _day("2026-12-01")}, DECEMBER, None),
    ({"cancelledDate": _day("2026-11-27")}, NOVEMBER, "addition_cancelled"),
    ({"cancelledDate": _day("2026-10-31")}, NOVEMBER, "addition_cancelled"),
    ({"effectiveDate": _day("2026-11-15")}, OCTOBER, "addition_not_begun"),
    ({"effectiveDate": _day("2026-11-15")}, NOVEMBER, "addition_not_begun"),
]
AGREEMENT: list[tuple[dict[str, Any], BillingPeriod, str | None]] = [
    ({"endDate": _day("2026-11-30")}, NOVEMBER, None),
    ({"endDate": _day("2026-10-31"), "agreementStatus": "Expired"}, OCTOBER, None),
    ({"startDate": _day("2026-12-01")}, DECEMBER, None),
    ({"dateCancelled": _day("2026-10-31"), "agreementStatus": "Cancelled"}, OCTOBER, None),
    ({"dateCancelled": _day("2035-01-31"), "cancelledFlag": True, "agreementStatus": "Cancelled"}, NOVEMBER, None),
    ({"endDate": _day("2026-10-31")}, NOVEMBER, "agreement_expired"),
    ({"startDate": _day("2026-11-15")}, NOVEMBER, "agreement_not_begun"),
    ({"dateCancelled": _day("2026-11-20")}, NOVEMBER, "agreement_cancelled"),
]


def _compared(case: Case, period: BillingPeriod, reason: str | None) -> None:
    """Preview and push the period: written, or held for this reason until it is confirmed."""
    case.world.simulator.state.merge(StateDocument(closed_records="accept"))
    push = case.world.push("p1", {1: 5}, period=period)
    foreseen = _done(case, push.model_copy(update={"push_id": "preview", "mode": "preview"}))
    answer = _done(case, push)
    assert code(answer) == code(foreseen) == reason
    if reason is None:
        assert (foreseen.status, answer.status, answer.quantity_after) == ("preview", "updated", 5)
        return
    assert (foreseen.status, answer.status, case.world.writes()) == ("held", "held", [])
    confirmed = _confirming(case.world.push("p1", {1: 5}, period=period), answer)
    assert _done(case, confirmed).status == "updated"
    assert case.world.quantity("p1", 100_001) == 5


@pytest.mark.parametrize(("changes", "period", "reason"), ADDITION)
def test_the_days_of_an_addition(
    case: Case, changes: dict[str, Any], period: BillingPeriod, reason: str | None
) -> None:
    """Billed for the whole period, it is written on whatever day that is asked; for a part or none, it is confirmed."""
    case.world.simulator.state.change("cw-p1", "additions", 100_001, **changes)
    _compared(case, period, reason)


@pytest.mark.parametrize(("changes", "period", "reason"), AGREEMENT)
def test_the_days_of_an_agreement(
    case: Case, changes: dict[str, Any], period: BillingPeriod, reason: str | None
) -> None:
    """The agreement's days count as much as the addition's, whatever its status is today."""
    case.world.simulator.state.change("cw-p1", "agreements", 1001, **{"agreementStatus": "Active", **changes})
    _compared(case, period, reason)


def test_a_cancellation_that_was_moved_up_is_seen(case: Case) -> None:
    """The agreement shows as cancelled from a day to come; the day may be another one by the next push."""
    case.world.simulator.state.merge(StateDocument(closed_records="accept"))
    change = case.world.simulator.state.change
    change("cw-p1", "agreements", 1001, dateCancelled=_day("2035-01-31"), cancelledFlag=True)
    change("cw-p1", "agreements", 1001, agreementStatus="Cancelled")
    assert _done(case, case.world.push("p1", {1: 5})).status == "updated"
    change("cw-p1", "agreements", 1001, dateCancelled=_day("2026-11-20"))
    answer = _done(case, case.world.push("p1", {1: 6}))
    assert (answer.status, code(answer)) == ("held", "agreement_cancelled")
    assert case.world.quantity("p1", 100_001) == 5


def test_a_confirmation_lasts_as_long_as_what_it_wrote(case: Case) -> None:
    """Written once as confirmed, it is not asked for again; another period, or what others set, still is."""
    case.world.simulator.state.merge(StateDocument(closed_records="accept"))
    case.world.simulator.state.change("cw-p1", "additions", 100_001, effectiveDate=_day("2035-01-01"))
    held = _done(case, case.world.push("p1", {1: 5}))
    assert _done(case, _confirming(case.world.push("p1", {1: 5}), held)).status == "updated"
    assert _done(case, case.world.push("p1", {1: 5})).status == "unchanged"
    assert _done(case, case.world.push("p1", {1: 5}, period=DECEMBER)).status == "held"
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=6)
    assert _done(case, case.world.push("p1", {1: 6})).status == "held"


def test_days_that_were_lost_after_the_write_are_held(case: Case) -> None:
    """Nobody confirmed that nothing is billed: what was written when all days were is held once none is."""
    assert _done(case, case.world.push("p1", {1: 5})).status == "updated"
    case.world.simulator.state.change("cw-p1", "additions", 100_001, cancelledDate=_day("2026-10-31"))
    assert _done(case, case.world.push("p1", {1: 5})).status == "held"


@pytest.mark.parametrize("changes", [{"cancelledDate": _day("2026-11-20")}, {"effectiveDate": _day("2035-01-01")}])
def test_what_was_confirmed_can_be_reverted(case: Case, changes: dict[str, Any]) -> None:
    """The quantity was set although a part of the period, or none, is billed: a revert takes it back unasked."""
    case.world.simulator.state.merge(StateDocument(closed_records="accept"))
    case.world.simulator.state.change("cw-p1", "additions", 100_001, **changes)
    held = _done(case, case.world.push("p1", {1: 5}))
    push = _confirming(case.world.push("p1", {1: 5}), held)
    assert _done(case, push).status == "updated"
    assert carried_out(case.world, revert_of(push))["c1"].status == "updated"
    assert case.world.quantity("p1", 100_001) == 1
