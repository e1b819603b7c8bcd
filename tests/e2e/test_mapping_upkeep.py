"""The check of a mapping tells if the records, the connection or the mapping itself are not what they were."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from cwclient.simulator import StateDocument, faults
from cwclient.simulator.document import Rights
from messages import ConnectionChanged, KeyRing, MappingChanged, MappingChecked, MappingCheckRequested, seal
from store import mappings
from tests.support.asking import ask, question
from tests.support.case import Case, code
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY, now

UNMAPPED: dict[str, Any] = {"cw_company_id": None, "agreement_id": None, "addition_id": None}
COMPANY_ONLY: dict[str, Any] = {"agreement_id": None, "addition_id": None}


def _check(case: Case, company_id: str, since: datetime) -> MappingChecked | None:
    """The result of a check of this company's mapping since then; None = it was not checked."""
    with case.world.database.begin() as tx:
        stored = mappings.of_companies(tx, "p1", {company_id})[company_id].check
    found = MappingChecked.model_validate(stored, strict=False) if stored else None
    return found if found is not None and found.time >= since else None


def _after(case: Case, company_id: str, act: Callable[[], object]) -> MappingChecked:
    """Do this; what the check of the company's mapping finds then."""
    since = now()
    act()
    wait_for(lambda: _check(case, company_id, since), "the check")
    found = _check(case, company_id, since)
    assert found is not None
    return found


def _saved(case: Case, number: int = 1, **changes: Any) -> MappingChecked:
    """Save company N's mapping with these changes; what its check found."""
    event: MappingChanged = case.world.mapped("p1", number).model_copy(update=changes)
    return _after(case, event.company_id, lambda: case.world.publish(event))


def _asked(case: Case, company_id: str) -> MappingChecked:
    """Have all mappings checked again; what was found of this one."""
    event = MappingCheckRequested(partner_id="p1", correlation_id="h", requested_at=now(), requested_by="ana")
    return _after(case, company_id, lambda: case.world.publish(event))


def _problems(check: MappingChecked) -> list[str]:
    return [why.code for why in check.problems]


@pytest.mark.parametrize("chosen", [{}, COMPANY_ONLY], ids=["an addition", "only the company"])
def test_a_deleted_company_is_named(case: Case, chosen: dict[str, Any]) -> None:
    """A company in ConnectWise's recycle bin reads like any other: its mapping says that it is deleted."""
    case.world.simulator.state.change("cw-p1", "companies", 1, deletedFlag=True)
    check = _saved(case, **chosen)
    assert (check.status, _problems(check), check.cw_company_name) == ("invalid", ["company_deleted"], "Company 1")
    assert check.successor is None


def test_a_company_that_is_gone_altogether_is_named(case: Case) -> None:
    """A company that ConnectWise does not know any more has the same remedy as a deleted one."""
    assert _problems(_saved(case, **COMPANY_ONLY, cw_company_id=999)) == ["company_deleted"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"startDate": "2099-01-01T00:00:00Z"}, "agreement_not_begun"),
        ({"endDate": "2024-01-31T00:00:00Z"}, "agreement_expired"),
        ({"cancelledFlag": True}, "agreement_cancelled"),
    ],
)
def test_an_agreement_is_judged_as_in_the_drop_down(case: Case, changes: dict[str, Any], why: str) -> None:
    """The check of a mapping says the same as the drop-down of an agreement that cannot be billed now."""
    case.world.simulator.state.change("cw-p1", "agreements", 1001, **changes)
    (choice,) = ask(case.world, question("agreements", cw_company_id=1)).choices
    assert choice.problem is not None
    assert choice.problem.code == why
    assert _problems(_saved(case)) == [why]


def test_the_name_of_a_record_that_is_gone_stays_known(case: Case) -> None:
    """A coordinator reads which agreement was deleted, not only its number."""
    case.world.simulator.faults.set([faults.Status(status=404, match=faults.Match(path="/agreements/1001"))])
    check = _asked(case, "c1")
    assert (_problems(check), check.agreement_name) == (["record_not_found"], "Agreement 1")


def _elsewhere(case: Case) -> ConnectionChanged:
    """A connection to another ConnectWise, whose records have the same ids."""
    stranger = {
        "company_identifier": "cw-other",
        "keys": [{"public": "public", "private": PRIVATE_KEY}],
        "companies": [{"id": 1, "name": "Stranger"}],
        "agreements": [{"id": 1001, "company": {"id": 1}}],
        "additions": [{"id": 100_001, "agreementId": 1001}],
    }
    case.world.simulator.state.merge(StateDocument.model_validate({"tenants": [stranger]}))
    good = case.world.connected("p1")
    box = seal(
        PRIVATE_KEY,
        seal_key=KeyRing.parse(case.world.keys.private).seal_key,
        public_key="public",
        partner_id="p1",
        company_identifier="cw-other",
        site_url=good.site_url or "",
    )
    return good.model_copy(update={"company_identifier": "cw-other", "sealed_private_key": box})


def test_mappings_of_another_connectwise_are_to_be_made_again(case: Case) -> None:
    """The same ids are other customers' there: the mapping is invalid without a look, until its own is back."""
    check = _after(case, "c1", lambda: case.world.publish(_elsewhere(case)))
    assert (check.status, _problems(check), check.cw_company_name) == ("invalid", ["map_again"], "Company 1")
    assert code(case.push()["c1"]) == "map_again"
    assert not [one for one in case.world.simulator.log if one["tenant"] == "cw-other" and "/1001" in one["path"]]
    assert _saved(case).cw_company_name == "Stranger"
    assert _after(case, "c2", lambda: case.world.publish(case.world.connected("p1"))).status == "complete"


def test_mappings_saved_under_wrong_keys_are_checked_once_those_are_mended(case: Case) -> None:
    """A coordinator who corrects the keys need not save each mapping again."""
    case.set_key("another")
    assert _problems(_saved(case)) == ["bad_credentials"]
    case.set_key(PRIVATE_KEY)
    check = _after(case, "c1", lambda: case.world.publish(case.world.connected("p1")))
    assert (check.status, check.addition_name) == ("complete", "PRODUCT")


def test_an_unmapping_warns_that_the_addition_holds_our_count(case: Case) -> None:
    """A company that is unmapped goes on being billed by what was pushed last: its check says where."""
    assert case.push(5)["c1"].status == "updated"
    check = _saved(case, **UNMAPPED)
    assert (check.status, [why.code for why in check.warnings]) == ("incomplete", ["old_addition_holds"])
    assert "100001" in check.warnings[0].detail


def test_a_right_that_only_a_check_misses_fails_no_lines(case: Case) -> None:
    """A company without agreement needs the right to read companies, lines do not: those go on."""
    case.world.simulator.faults.set([faults.Status(status=500, match=faults.Match(path="/additions/"))])
    request = case.world.push("p1", {1: 5})
    case.world.publish(request)
    wait_for(lambda: case.world.answers(request).get("c1"), "the first try")
    case.set_rights(Rights(company_maintenance_inquire="none"))
    assert _problems(_saved(case, 2, **COMPANY_ONLY)) == ["missing_company_inquire"]
    case.world.simulator.faults.clear()
    wait_for(lambda: case.world.state_of(request) == "completed", "the push's completion")
    answer = case.world.answers(request)["c1"]
    assert answer is not None
    assert answer.status == "updated"


def test_a_check_does_without_the_right_to_read_companies(case: Case) -> None:
    """A mapping with an agreement is complete for a role that may not read companies: the doctor tells of that."""
    case.set_rights(Rights(company_maintenance_inquire="none"))
    check = _saved(case)
    assert (check.status, check.cw_company_name) == ("complete", "Company 1")
