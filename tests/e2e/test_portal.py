"""The portal asks by messages through RabbitMQ and reads the answers, where no other test does."""

from collections.abc import Callable
from typing import Any, TypeVar

from cwclient.simulator import StateDocument
from cwclient.simulator.document import Rights
from messages import (
    Confirmation,
    ConnectionChecked,
    ConnectionCheckRequested,
    MappingChanged,
    MappingChecked,
    MappingCheckRequested,
    Message,
    PushCompleted,
    PushRequested,
    SyncResult,
)
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import now

Answer = TypeVar("Answer", bound=Message)


def _come(case: Case, kind: type[Answer], fits: Callable[[Answer], bool], count: int = 1) -> list[Answer]:
    """Wait for so many messages of this kind that fit."""
    platform = case.world.platform
    assert platform is not None

    def come() -> list[Answer]:
        return [one for one in list(platform.received) if isinstance(one, kind) and fits(one)]

    wait_for(lambda: len(come()) >= count, f"{count} {kind.__name__}")
    return come()


def _saved(case: Case, event: MappingChanged) -> MappingChecked:
    """Save a mapping; the answer."""
    case.world.publish(event)
    return _come(case, MappingChecked, lambda one: one.causation_id == str(event.id))[-1]


def _pushed(case: Case, push: PushRequested) -> dict[str, SyncResult]:
    """The results of a push, once its completion has come too."""
    case.world.publish(push)
    _come(case, PushCompleted, lambda one: one.push_id == push.push_id)
    results = _come(case, SyncResult, lambda one: one.push_id == push.push_id, len(push.lines))
    return {one.company_id: one for one in results}


def _reviewed(case: Case) -> ConnectionChecked:
    """Ask for a check of the connection; the answer."""
    asked = ConnectionCheckRequested(
        partner_id="p1", correlation_id="click", requested_at=now(), requested_by="ana@msp.example"
    )
    case.world.publish(asked)
    return _come(case, ConnectionChecked, lambda one: one.time > asked.time)[-1]


def test_rights_are_reviewed_again(busy: Case) -> None:
    """`connection.check_requested` is answered with a row for each right; the one that lacks says what to do."""
    for rights, status, state in ((Rights(agreements_inquire="none"), "failed", "denied"), (Rights(), "ok", "granted")):
        busy.set_rights(rights)
        checked = _reviewed(busy)
        right = next(one for one in checked.rights if one.right.startswith("Finance > Agreements: Inquire"))
        assert (checked.status, right.state) == (status, state)
        assert ("Finance > Agreements > Inquire" in (right.fix or "")) == (state == "denied")


def test_a_mapping_is_saved_and_answered(busy: Case) -> None:
    """`mapping.changed` is answered with names and quantity, whether it maps, sums, sets a minimum or unmaps."""
    one = busy.world.mapped("p1", 1)
    checked = _saved(busy, one.model_copy(update={"minimum": 7}))
    names = (checked.cw_company_name, checked.agreement_name, checked.quantity)
    assert (checked.status, *names) == ("complete", "Company 1", "Agreement 1", 1)
    shared = {"company_id": "c3", "company_name": "Company 3"}
    refused = _saved(busy, busy.world.mapped("p1", 1).model_copy(update=shared))
    assert (refused.status, [problem.code for problem in refused.problems]) == ("invalid", ["shared_addition"])
    for changes in ({}, shared):
        _saved(busy, busy.world.mapped("p1", 1).model_copy(update={"rule": "sum", **changes}))
    assert _pushed(busy, busy.world.push("p1", {1: 4, 3: 5}))["c3"].quantity_after == 9
    nothing = {"cw_company_id": None, "agreement_id": None, "addition_id": None}
    assert _saved(busy, busy.world.mapped("p1", 2).model_copy(update=nothing)).status == "incomplete"
    assert _pushed(busy, busy.world.push("p1", {2: 5}))["c2"].status == "skipped"


def test_mappings_are_compared_again(busy: Case) -> None:
    """`mapping.check_requested` is answered for each mapping, with the likely successor of one that has gone bad."""
    _put(busy, {"id": 100_001}, {"id": 200_001})
    _saved(busy, busy.world.mapped("p1", 1))
    _put(busy, {"id": 100_001, "cancelledDate": "2026-01-01T00:00:00Z"})
    asked = MappingCheckRequested(
        partner_id="p1", correlation_id="click", requested_at=now(), requested_by="ana@msp.example"
    )
    busy.world.publish(asked)
    found = {one.company_id: one for one in _come(busy, MappingChecked, lambda one: one.time > asked.time, 2)}
    assert {company: one.status for company, one in found.items()} == {"c1": "invalid", "c2": "complete"}
    assert [problem.code for problem in found["c1"].problems] == ["addition_cancelled"]
    successor = found["c1"].successor
    assert successor is not None
    assert successor.addition_id == 200_001


def _put(case: Case, *additions: dict[str, Any]) -> None:
    """Change additions of agreement 1001, all of Phin's product, as somebody does there by hand."""
    records = [{"agreementId": 1001, "product": {"id": 5, "identifier": "PHIN-SAT"}, **one} for one in additions]
    tenant = {"company_identifier": "cw-p1", "additions": records}
    case.world.simulator.state.merge(StateDocument.model_validate({"tenants": [tenant]}))


def test_what_was_held_goes_through_once_it_is_confirmed(busy: Case) -> None:
    """A `sync.result` that is held holds all that the next `push.requested` needs to confirm it."""
    push = busy.world.push("p1", {1: 0, 2: 5})
    results = _pushed(busy, push)
    assert {company: one.status for company, one in results.items()} == {"c1": "held", "c2": "updated"}
    held = results["c1"]
    assert held.quantity_before is not None
    confirmation = Confirmation(
        company_id="c1",
        reasons=tuple(problem.code for problem in held.reasons),
        quantity_before=held.quantity_before,
        quantity_wanted=held.quantity_wanted,
    )
    again = busy.world.push("p1", {1: 0, 2: 5}).model_copy(update={"confirmations": (confirmation,)})
    results = _pushed(busy, again)
    assert {company: one.status for company, one in results.items()} == {"c1": "updated", "c2": "unchanged"}
    assert busy.world.quantity("p1", 100_001) == 0
