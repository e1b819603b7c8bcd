"""Mappings are compared with ConnectWise: when they are saved, and again when somebody asks."""

from datetime import datetime
from typing import Any

import pytest

from cwclient.simulator import StateDocument
from messages import MappingChecked, MappingCheckRequested
from store import mappings
from tests.support.case import Case
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for
from tests.support.world import now


def _set(case: Case, **records: list[dict[str, Any]]) -> None:
    """Change records in ConnectWise, as somebody does there by hand."""
    document = {"tenants": [{"company_identifier": "cw-p1", **records}]}
    case.world.simulator.state.merge(StateDocument.model_validate(document))


def _addition(number: int, agreement: int = 1001, **changes: Any) -> dict[str, Any]:
    return {"id": number, "agreementId": agreement, "product": {"id": 5, "identifier": "PHIN-SAT"}} | changes


def _checks(case: Case, since: datetime) -> dict[str, MappingChecked]:
    """The results of the checks since then, by company."""
    with case.world.database.begin() as tx:
        found = [mapping.check for mapping in mappings.of_partner(tx, "p1") if mapping.check]
    checks = [MappingChecked.model_validate(check, strict=False) for check in found]
    return {check.company_id: check for check in checks if check.time >= since}


def _health(case: Case) -> dict[str, MappingChecked]:
    """Ask for a check of all mappings; what it found."""
    at = now()
    event = MappingCheckRequested(partner_id="p1", correlation_id="h", requested_at=at, requested_by="ana@msp.example")
    case.world.publish(event)
    wait_for(lambda: len(_checks(case, at)) == 2, "both checks")
    return _checks(case, at)


@pytest.fixture
def products(case: Case) -> Case:
    """Both mapped additions have Phin's product, as their checks have seen."""
    _set(case, additions=[_addition(100_001), _addition(100_002, 1002)])
    at = now()
    case.world.publish(case.world.mapped("p1", 1), case.world.mapped("p1", 2))
    wait_for(lambda: len(_checks(case, at)) == 2, "the checks")
    return case


def test_what_is_well_stays_well(products: Case) -> None:
    """A healthy mapping is complete, with the product that it bills."""
    found = _health(products)
    assert {(check.status, check.product, check.successor) for check in found.values()} == {
        ("complete", "PHIN-SAT", None)
    }


@pytest.mark.parametrize(
    ("gone", "code"),
    [
        pytest.param(
            {"additions": [_addition(100_001, cancelledDate="2026-01-01T00:00:00Z")]},
            "addition_cancelled",
            id="cancelled",
        ),
        pytest.param({"additions": [_addition(100_001, billCustomer="DoNotBill")]}, "not_billable", id="not billed"),
        pytest.param(
            {"agreements": [{"id": 1001, "company": {"id": 1}, "name": "Old", "agreementStatus": "Expired"}]},
            "agreement_expired",
            id="renewed",
        ),
        pytest.param(
            {"additions": [_addition(100_001, product={"id": 6, "identifier": "BACKUP"})]},
            "product_changed",
            id="another product",
        ),
    ],
)
def test_a_mapping_that_has_gone_bad_names_its_successor(
    products: Case, gone: dict[str, list[dict[str, Any]]], code: str
) -> None:
    """Cancelled, renewed or rededicated: the problem, and the only live addition with the product in its place."""
    _set(
        products,
        agreements=[{"id": 1901, "company": {"id": 1}, "name": "Renewed"}],
        additions=[_addition(900_001, 1901, quantity=3, description="Security training")],
    )
    _set(products, **gone)
    check = _health(products)["c1"]
    assert (check.status, [why.code for why in check.problems]) == ("invalid", [code])
    assert check.successor is not None
    assert (check.successor.agreement_id, check.successor.addition_id) == (1901, 900_001)
    again = _health(products)["c1"]
    assert [why.code for why in again.problems] == [code]


def test_a_deleted_addition_is_named_and_replaced(case: Case) -> None:
    """A mapping whose addition is not there any more says so, and proposes the only one that fits."""
    at = now()
    case.world.publish(case.world.mapped("p1", 1).model_copy(update={"addition_id": 999_999}))
    _set(case, additions=[_addition(200_001)])
    wait_for(lambda: "c1" in _checks(case, at), "the check")
    check = _health(case)["c1"]
    assert [why.code for why in check.problems] == ["record_not_found"]
    assert check.agreement_name == "Agreement 1"
    assert check.successor is not None
    assert check.successor.addition_id == 200_001


def test_a_shared_addition_is_told_to_both(case: Case) -> None:
    """When a second company is mapped to an addition, the first one's check says so too, unless both are summed."""
    at = now()
    one = case.world.mapped("p1", 1)
    case.world.publish(one.model_copy(update={"company_id": "c2", "company_name": "Company 2"}))
    wait_for(lambda: len(_checks(case, at)) == 2, "both checks")
    assert {why.code for check in _checks(case, at).values() for why in check.problems} == {"shared_addition"}

    at = now()
    summed = {"rule": "sum", "changed_at": at}
    both = {"company_id": "c2", "company_name": "Company 2"}
    case.world.publish(one.model_copy(update=summed), one.model_copy(update=summed | both))
    wait_for(lambda: {c.status for c in _checks(case, at).values()} == {"complete"}, "the checks of the sum")


def test_a_remapping_warns_that_the_old_addition_holds_our_count(case: Case) -> None:
    """Nobody resets the old addition, so both would be billed: the check of the new mapping says which and when."""
    assert case.push(5)["c1"].status == "updated"
    at = now()
    case.world.publish(case.world.mapped("p1", 1, base=200_000))
    wait_for(lambda: "c1" in _checks(case, at), "the check")
    (warning,) = _checks(case, at)["c1"].warnings
    assert warning.code == "old_addition_holds"
    assert "100001" in warning.detail
    assert "2026-11" in warning.detail
    assert case.push(6)["c1"].status == "updated"
    assert _health(case)["c1"].warnings == ()


def test_a_remapping_after_a_revert_names_what_the_old_addition_holds(case: Case) -> None:
    """Of two pushes the second is taken back: the first one's count is left, and is what the warning is about."""
    assert case.push(5)["c1"].status == "updated"
    second = case.world.push("p1", {1: 6})
    case.world.publish(second)
    wait_for(lambda: case.world.state_of(second) == "completed", "the push")
    assert carried_out(case.world, revert_of(second))["c1"].reverts == second.push_id
    (warning,) = _remapped(case).warnings
    assert "2026-11" in warning.detail


def test_a_remapping_after_the_only_push_was_reverted_warns_of_nothing(case: Case) -> None:
    """The old addition holds what it held before Phin: there is nothing to reset."""
    push = case.world.push("p1", {1: 6})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert carried_out(case.world, revert_of(push))["c1"].status == "updated"
    assert _remapped(case).warnings == ()


def _remapped(case: Case) -> MappingChecked:
    at = now()
    case.world.publish(case.world.mapped("p1", 1, base=200_000))
    wait_for(lambda: "c1" in _checks(case, at), "the check")
    return _checks(case, at)["c1"]


def test_a_company_that_is_not_mapped_is_answered_too(busy: Case) -> None:
    """A platform that asks about a company nobody has mapped, or that was unmapped, waits for no answer in vain."""
    platform = busy.world.platform
    assert platform is not None
    event = MappingCheckRequested(
        partner_id="p1",
        correlation_id="h",
        requested_at=now(),
        requested_by="ana@msp.example",
        company_ids=("c9", "c1"),
    )
    busy.world.publish(event)

    def answers() -> dict[str, MappingChecked]:
        received = [message for message in list(platform.received) if message.correlation_id == "h"]
        return {message.company_id: message for message in received if isinstance(message, MappingChecked)}

    wait_for(lambda: len(answers()) == 2, "both answers")
    not_mapped = answers()["c9"]
    assert (not_mapped.status, [why.code for why in not_mapped.warnings]) == ("incomplete", ["unmapped"])
    assert not_mapped.causation_id == str(event.id)
    assert answers()["c1"].status == "complete"
