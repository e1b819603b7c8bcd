"""A fault that the check of a mapping finds stops preview and push alike, once ConnectWise has been asked again."""

from typing import Any

import pytest

from cwclient.simulator import StateDocument
from messages import MappingChanged, MappingCheckRequested
from store import mappings
from tests.support.case import Case, code
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for
from tests.support.world import now


def _put(case: Case, **records: list[dict[str, Any]]) -> None:
    """Add or change records in ConnectWise."""
    document = {"tenants": [{"company_identifier": "cw-p1", **records}]}
    case.world.simulator.state.merge(StateDocument.model_validate(document))


def _found(case: Case) -> dict[str, Any]:
    """The result of the last check of company 1's mapping."""
    with case.world.database.begin() as tx:
        return mappings.of_companies(tx, "p1", {"c1"})["c1"].check or {}


def _checked(case: Case, mapped: MappingChanged) -> dict[str, Any]:
    """Save the mapping, wait for its check; what that found."""
    case.world.publish(mapped)
    checks = wait_for(lambda: case.checked_mappings(mapped.changed_at, 1), "the check") or {}
    wait_for(lambda: not case.is_running(), "the end of the run")
    return checks["c1"]


def _forget_product_ids(case: Case) -> None:
    """Make company 1's check one of those that kept the product's identifier only."""
    with case.world.database.partner("p1") as tx:
        mapping = mappings.of_companies(tx, "p1", {"c1"})["c1"]
        kept = {name: found for name, found in (mapping.check or {}).items() if name != "product_id"}
        assert mappings.save_check(tx, mapping, kept)


def _paths(case: Case, since: int) -> list[str]:
    """The requests since then, each as its method and the last two parts of its path."""
    return [
        " ".join([record["method"], *record["path"].split("/")[-2:]]) for record in case.world.simulator.log[since:]
    ]


def test_the_addition_of_another_company_is_never_written(case: Case) -> None:
    """A mapping with the agreement of another company fails in preview and push, checked before or not."""
    wrong = case.world.mapped("p1", 2).model_copy(update={"company_id": "c1", "cw_company_id": 1, "agreement_id": 1003})
    wrong = wrong.model_copy(update={"addition_id": 100_003})
    push = case.world.push("p1", {1: 5}, mappings=[wrong])
    case.world.publish(push, wrong)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    answers = [case.world.answers(push)["c1"], case.preview(), case.push()["c1"]]
    assert [(one.status, code(one)) for one in answers if one] == [("failed", "agreement_elsewhere")] * 3
    assert (case.world.writes(), case.world.quantity("p1", 100_003)) == ([], 1)


def test_what_was_mended_since_the_check_is_not_held_against_the_customer(case: Case) -> None:
    """A company was deleted and is back: the push asks for it once more, is written, and the mapping is well again."""
    case.world.simulator.state.change("cw-p1", "companies", 1, deletedFlag=True)
    assert _checked(case, case.world.mapped("p1", 1))["status"] == "invalid"
    asked = len(case.world.simulator.log)
    assert code(case.push()["c1"]) == "company_deleted"
    assert _paths(case, asked) == ["GET additions 100001", "GET agreements 1001", "GET companies 1"]
    case.world.simulator.state.change("cw-p1", "companies", 1, deletedFlag=False)
    asked = len(case.world.simulator.log)
    assert case.push()["c1"].status == "updated"
    assert _paths(case, asked) == [
        "GET additions 100001", "GET agreements 1001", "GET companies 1", "PATCH additions 100001",
    ]  # fmt: skip
    assert _found(case)["status"] == "complete"
    asked = len(case.world.simulator.log)
    assert case.push(6)["c1"].status == "updated"
    assert _paths(case, asked) == ["GET additions 100001", "PATCH additions 100001"]


def test_a_mapping_that_is_not_checked_yet_is_checked_with_its_first_line(case: Case) -> None:
    """A push that comes with its mapping waits for the check, which is made once; nothing is read twice for it."""
    mapped = case.world.mapped("p1", 3)
    push = case.world.push("p1", {3: 5}, mappings=[mapped])
    asked = len(case.world.simulator.log)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push's acceptance")
    case.world.publish(mapped)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert case.checked_mappings(mapped.changed_at, 1)
    reads = [path for path in _paths(case, asked) if path != "PATCH additions 100003"]
    assert sorted(reads) == ["GET additions 100003", "GET agreements 1003", "GET companies 3"]


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"company": {"id": 2}}, "failed", "agreement_elsewhere"),
        ({"cancelledFlag": True}, "failed", "agreement_cancelled"),
        ({"dateCancelled": "2026-10-31T00:00:00Z"}, "held", "agreement_cancelled"),
        ({"endDate": "2026-10-31T00:00:00Z"}, "held", "agreement_expired"),
    ],
)
def test_what_a_preview_reads_of_the_agreement_it_says(
    case: Case, changes: dict[str, Any], status: str, why: str
) -> None:
    """The agreement went to another company, or ended, after the check: the preview says so, and the push does too."""
    _put(case, agreements=[{"id": 1001, "company": {"id": 1}, "agreementStatus": "Active"}])
    _put(case, agreements=[{"id": 1001, **changes}])
    answers = [case.preview(), case.push()["c1"]]
    assert [(one.status, code(one)) for one in answers if one] == [(status, why)] * 2
    assert case.world.writes() == []


def test_a_product_that_was_changed_is_not_billed(case: Case) -> None:
    """The mapped addition bills backups by now: the number of trained users must not become their quantity."""
    case.world.simulator.state.change("cw-p1", "additions", 100_001, product={"id": 6, "identifier": "BACKUP"})
    answers = [case.preview(), case.push()["c1"]]
    assert [(one.status, code(one)) for one in answers if one] == [("failed", "product_changed")] * 2
    assert case.world.writes() == []


def test_a_product_that_was_renamed_is_billed_on(case: Case) -> None:
    """One new name in the catalogue stops no customer's billing: the product is still the same, and stays so."""
    renamed = {"id": 1, "identifier": "PHIN-SAT-2"}
    case.world.simulator.state.change("cw-p1", "additions", 100_001, product=renamed)
    asked = len(case.world.simulator.log)
    assert case.push()["c1"].status == "updated"
    assert _paths(case, asked) == ["GET additions 100001", "PATCH additions 100001"]
    at = now()
    case.world.publish(
        MappingCheckRequested(partner_id="p1", correlation_id="h", requested_at=at, requested_by="ana@msp.example")
    )
    wait_for(lambda: _found(case)["product"] == "PHIN-SAT-2", "the check")
    assert (_found(case)["status"], _found(case)["product_id"]) == ("complete", 1)


@pytest.mark.parametrize("identifier", ["PRODUCT", "PHIN-SAT-2"], ids=["same", "renamed"])
def test_a_check_that_kept_no_id_of_the_product_learns_it_with_the_next_line(case: Case, identifier: str) -> None:
    """A check from before ids were kept stops nothing by a name alone; from its next line on a change is known."""
    _forget_product_ids(case)
    case.world.simulator.state.change("cw-p1", "additions", 100_001, product={"id": 1, "identifier": identifier})
    assert case.push()["c1"].status == "updated"
    found = _found(case)
    assert (found["status"], found["product"], found["product_id"]) == ("complete", identifier, 1)
    case.world.simulator.state.change("cw-p1", "additions", 100_001, product={"id": 6, "identifier": "BACKUP"})
    asked = len(case.world.simulator.log)
    assert code(case.push(6)["c1"]) == "product_changed"
    assert _paths(case, asked) == ["GET additions 100001"]


def test_an_addition_that_is_counted_for_its_cost_only(case: Case) -> None:
    """Not billable on purpose: once the mapping allows it, check, preview, push and revert take it like any other."""
    case.world.simulator.state.change("cw-p1", "additions", 100_001, billCustomer="DoNotBill")
    assert [code(one) for one in (case.preview(), case.push()["c1"]) if one] == ["not_billable"] * 2
    allowed = case.world.mapped("p1", 1).model_copy(update={"allow_not_billable": True})
    assert _checked(case, allowed)["status"] == "complete"
    foreseen, push = case.preview(), case.world.push("p1", {1: 5})
    assert foreseen is not None
    assert foreseen.status == "preview"
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert case.world.quantity("p1", 100_001) == 5
    assert carried_out(case.world, revert_of(push))["c1"].status == "updated"
    assert case.world.quantity("p1", 100_001) == 1


def test_the_likely_successor_is_nobody_elses(case: Case) -> None:
    """Of two additions that may have taken the cancelled one's place another company has one: the other is proposed."""
    phin = {"agreementId": 1001, "product": {"id": 5, "identifier": "PHIN-SAT"}}
    _put(case, additions=[{"id": number, **phin} for number in (100_001, 200_001, 300_001)])
    other = case.world.mapped("p1", 2).model_copy(update={"agreement_id": 1001, "addition_id": 200_001})
    case.world.publish(other)
    wait_for(lambda: case.has_mapping_of(other.changed_at), "the other company's mapping")
    _checked(case, case.world.mapped("p1", 1))
    case.world.simulator.state.change("cw-p1", "additions", 100_001, cancelledDate="2026-01-01T00:00:00Z")

    def successor() -> int | None:
        at = now()
        event = MappingCheckRequested(partner_id="p1", correlation_id="h", requested_at=at, requested_by="ana")
        case.world.publish(event)
        wait_for(lambda: _found(case)["time"] >= at.isoformat().replace("+00:00", "Z"), "the check")
        found = _found(case)["successor"]
        return found and int(found["addition_id"])

    assert successor() == 300_001
    case.world.simulator.state.remove("cw-p1", "additions", 300_001)
    assert successor() is None
