"""Guard rails: what is unusual is held, and written only once somebody has looked at it and confirms it."""

from datetime import timedelta
from typing import Any

import pytest

from cwclient.simulator import StateDocument, faults
from cwclient.simulator.faults import Match
from messages import BillingPeriod, Confirmation, MappingChanged, PushRequested, SyncResult
from tests.support.case import Case, code
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for
from tests.support.world import NOVEMBER, World, now
from worker.rules import quantities
from worker.sync import due_work

OCTOBER = BillingPeriod.parse("2026-10")


@pytest.fixture
def world(world: World) -> World:
    """Above 20 users and half of what is there a change is a big jump, as by default."""
    world.settings = world.settings.model_copy(update={"big_jump_count": 20})
    return world


def _push(case: Case, push: PushRequested) -> dict[str, SyncResult]:
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    return {company: answer for company, answer in case.world.answers(push).items() if answer is not None}


def _confirmed(push: PushRequested, held: SyncResult, *, before: float | None = None) -> PushRequested:
    """The push with a confirmation of what this line is held for."""
    confirmation = Confirmation(
        company_id=held.company_id,
        reasons=tuple(reason.code for reason in held.reasons),
        quantity_before=held.quantity_before or 0 if before is None else before,
    )
    return push.model_copy(update={"confirmations": (confirmation,)})


def _set(case: Case, **addition: Any) -> None:
    """Change addition 100001 in ConnectWise, as somebody does there by hand."""
    record = {"id": 100_001, "agreementId": 1001, **addition}
    tenant = {"company_identifier": "cw-p1", "additions": [record]}
    case.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))


def _prepared(case: Case, reason: str) -> tuple[int, BillingPeriod]:
    """Make this reason come up for company 1; the users and the period to be pushed then."""
    match reason:
        case "zero":
            return 0, NOVEMBER
        case "big_jump":
            return 22, NOVEMBER
        case "below_included":
            _set(case, quantity=12, lessIncluded=10)
            return 9, NOVEMBER
        case "changed_elsewhere":
            assert case.push(5)["c1"].status == "updated"
            _set(case, quantity=7)
            return 6, NOVEMBER
    assert case.push(5)["c1"].status == "updated"
    return 6, OCTOBER


@pytest.mark.parametrize("reason", ["zero", "big_jump", "below_included", "changed_elsewhere", "older_period"])
def test_held_then_confirmed_then_written(case: Case, reason: str) -> None:
    """Unusual: nothing is written. Confirmed for another quantity: held again. Confirmed: written, once."""
    users, period = _prepared(case, reason)
    written = len(case.world.writes())
    held = _push(case, case.world.push("p1", {1: users}, period=period))["c1"]
    assert (held.status, [problem.code for problem in held.reasons]) == ("held", [reason])
    assert held.problem == held.reasons[0]
    assert len(case.world.writes()) == written

    elsewhere = _confirmed(case.world.push("p1", {1: users}, period=period), held, before=999)
    assert _push(case, elsewhere)["c1"].status == "held"
    assert len(case.world.writes()) == written

    answer = _push(case, _confirmed(case.world.push("p1", {1: users}, period=period), held))["c1"]
    assert (answer.status, answer.quantity_after) == ("updated", users)
    assert len(case.world.writes()) == written + 1


def test_a_confirmation_lets_no_other_jump_through(case: Case) -> None:
    """A confirmed jump is done; the next one has another quantity before it, and is held again."""
    held = _push(case, case.world.push("p1", {1: 40}))["c1"]
    assert _push(case, _confirmed(case.world.push("p1", {1: 40}), held))["c1"].status == "updated"
    again = _push(case, _confirmed(case.world.push("p1", {1: 90}), held))["c1"]
    assert (again.status, case.world.quantity("p1", 100_001)) == ("held", 40)


def test_what_was_found_after_a_lost_write_is_not_ours(case: Case) -> None:
    """A write did not arrive, and somebody else's value was found instead: held, also when it is pushed again."""
    assert case.push(5)["c1"].status == "updated"
    case.world.simulator.faults.set([faults.Reset(match=Match(path=r"/additions/100001$", method="PATCH"), times=1)])
    push = case.world.push("p1", {1: 6})
    case.world.publish(push)
    wait_for(lambda: any(row.outcome is None for row in case.world.ledger()), "the lost write")
    _set(case, quantity=9)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    for answer in (case.world.answers(push)["c1"], case.push(6)["c1"]):
        assert answer is not None
        assert (answer.status, [reason.code for reason in answer.reasons]) == ("held", ["changed_elsewhere"])
    assert case.world.quantity("p1", 100_001) == 9


def _summed(case: Case, *numbers: int) -> list[MappingChanged]:
    """Map these companies to addition 100001, to be summed."""
    mapped = [
        case.world.mapped("p1", 1).model_copy(
            update={"company_id": f"c{number}", "company_name": f"Company {number}", "rule": "sum", "changed_at": now()}
        )
        for number in numbers
    ]
    case.world.publish(*mapped)
    versions = {mapping.changed_at for mapping in mapped}
    wait_for(lambda: versions <= case.checked_versions(), "the mappings' checks")
    return mapped


def test_a_sum_is_formed_of_one_push_only(case: Case) -> None:
    """Three companies on one addition: one GET, one PATCH with the sum; asked for in two pushes, all are held."""
    mapped = _summed(case, 1, 2, 3)
    asked = len(case.world.simulator.log)
    answers = _push(case, case.world.push("p1", {1: 3, 2: 4, 3: 5}, mappings=mapped))
    assert {(answer.status, answer.quantity_after) for answer in answers.values()} == {("updated", 12)}
    calls = [record["method"] for record in case.world.simulator.log[asked:] if "/additions/" in record["path"]]
    assert calls == ["GET", "PATCH"]

    parts = [case.world.push("p1", {1: 6, 2: 6}), case.world.push("p1", {3: 6})]
    case.world.publish(*parts)
    wait_for(lambda: all(case.world.state_of(push) == "completed" for push in parts), "both pushes")
    answered = [answer for push in parts for answer in case.world.answers(push).values()]
    assert [(answer and answer.status) for answer in answered] == ["held"] * 3
    assert case.world.quantity("p1", 100_001) == 12


def test_a_company_in_a_sum_confirms_for_all(case: Case) -> None:
    """The reason is the addition's, so it is enough that one of its companies is confirmed."""
    mapped = _summed(case, 1, 2)
    held = _push(case, case.world.push("p1", {1: 30, 2: 30}, mappings=mapped))
    assert {answer.status for answer in held.values()} == {"held"}
    answers = _push(case, _confirmed(case.world.push("p1", {1: 30, 2: 30}), held["c2"]))
    assert {(answer.status, answer.quantity_after) for answer in answers.values()} == {("updated", 60)}


def test_a_sum_is_the_same_wherever_a_batch_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a company that is not looked at together with the others the confirmation counts, and the ledger names it."""
    mapped = _summed(case, 1, 2)
    held = _push(case, case.world.push("p1", {1: 30, 2: 30}, mappings=mapped))
    monkeypatch.setattr(due_work, "BATCH", 1)
    push = _confirmed(case.world.push("p1", {1: 30, 2: 30}), held["c2"])
    answers = _push(case, push)
    assert {company: answer.status for company, answer in answers.items()} == {"c1": "updated", "c2": "unchanged"}
    assert [row.companies_json for row in case.world.ledger()] == ['["c1", "c2"]']
    part = carried_out(case.world, revert_of(push, "c1"))["c1"]
    assert (part.status, code(part), case.world.quantity("p1", 100_001)) == ("held", "revert_incomplete", 60)


def test_users_of_a_mapping_that_never_came_are_in_no_sum(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company was mapped anew, perhaps to another addition, which is not known: its line fails, the sum is held."""
    one, two = _summed(case, 1, 2)
    monkeypatch.setattr(quantities, "VERSION_WAIT", timedelta(seconds=1))
    unknown = two.model_copy(update={"changed_at": now()})
    answers = _push(case, case.world.push("p1", {1: 3, 2: 4}, mappings=[one, unknown]))
    said = {company: (answer.status, code(answer)) for company, answer in answers.items()}
    assert said == {"c1": ("held", "group_incomplete"), "c2": ("failed", "mapping_not_received")}
    assert case.world.writes() == []
