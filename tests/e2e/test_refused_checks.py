"""A mapping's check that is refused part of its reads: it stops no line, blames no other, and ends."""

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import MappingCheckRequested, SyncResult
from store import mappings
from tests.support.case import Case, code
from tests.support.waiting import wait_for
from tests.support.world import now

COMPANY = Match(path="/company/companies/1$", method="GET")
AGREEMENT = Match(path="/finance/agreements/1001$", method="GET")
AGREEMENTS = Match(path="/finance/agreements$", method="GET")


def _pushed_with_its_mapping(case: Case) -> dict[str, tuple[str, str | None]]:
    """Save company 1's mapping and push companies 1 and 2 at the same time; each one's status and problem."""
    mapped = case.world.mapped("p1", 1)
    push = case.world.push("p1", {1: 5, 2: 5}, mappings=[mapped])
    case.world.publish(mapped, push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    return _said(case.world.answers(push))


def _said(answers: dict[str, SyncResult | None]) -> dict[str, tuple[str, str | None]]:
    return {company: (answer.status, code(answer)) for company, answer in answers.items() if answer is not None}


UPDATED = {"c1": ("updated", None), "c2": ("updated", None)}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Status(status=401, match=COMPANY), id="keys refused for one company"),
        pytest.param(faults.MissingRight(match=COMPANY), id="no right"),
        pytest.param(faults.Html(status=403, match=COMPANY), id="a firewall's page"),
        pytest.param(faults.Html(status=404, match=COMPANY), id="a page that nothing is there"),
        pytest.param(faults.Redirect(location="https://status.example/", match=COMPANY), id="maintenance"),
        pytest.param(faults.Status(status=500, match=COMPANY), id="trouble"),
    ],
)
def test_a_company_that_cannot_be_read_stops_no_line(case: Case, fault: faults.Fault) -> None:
    """The addition and its agreement are enough to bill: both lines are written, and the company is not asked again."""
    case.world.simulator.faults.set([fault])
    assert _pushed_with_its_mapping(case) == UPDATED
    asked = len(case.world.simulator.log)
    assert _said(dict(case.push(6, companies=(1, 2)))) == UPDATED
    assert not [one for one in case.world.simulator.log[asked:] if "/company/" in one["path"]]
    assert case.dead() == {}


def test_a_company_that_was_deleted_stays_so_until_it_is_read(case: Case) -> None:
    """A check that is refused the company does not take back what an earlier one has found of it."""
    case.world.simulator.state.change("cw-p1", "companies", 1, deletedFlag=True)
    assert _pushed_with_its_mapping(case)["c1"] == ("failed", "company_deleted")
    case.world.simulator.faults.set([faults.Status(status=401, match=COMPANY)])
    assert code(case.push(6)["c1"]) == "company_deleted"
    case.world.simulator.faults.clear()
    case.world.simulator.state.change("cw-p1", "companies", 1, deletedFlag=False)
    assert case.push(6)["c1"].status == "updated"


def test_a_successor_that_cannot_be_looked_for_hides_no_finding(case: Case) -> None:
    """The list in which a bad mapping's successor is looked for is refused: the line still says what is wrong."""
    case.world.simulator.state.change("cw-p1", "agreements", 1001, agreementStatus="Inactive")
    case.world.simulator.faults.set([faults.Status(status=401, match=AGREEMENTS)])
    assert _pushed_with_its_mapping(case) == {"c1": ("failed", "agreement_inactive"), "c2": ("updated", None)}
    assert _problems(case) == ["agreement_inactive"]


def _asked_again(case: Case, fault: faults.Fault) -> None:
    """Somebody asks what has become of company 1's mapping, which was well, while ConnectWise has this fault."""
    case.world.simulator.faults.set([fault])
    event = MappingCheckRequested(
        partner_id="p1", correlation_id="h", requested_at=now(), requested_by="ana@msp.example", company_ids=("c1",)
    )
    case.world.publish(event)


def test_a_record_that_is_refused_to_a_check_is_told_after_three_tries(case: Case) -> None:
    """401 for one agreement, each time: the mapping says so in the end, and nobody asks ConnectWise any more."""
    asked = len(case.world.simulator.log)
    _asked_again(case, faults.Status(status=401, match=AGREEMENT))
    found = wait_for(lambda: _problems(case), "the finding")
    assert found == ["record_denied"]
    assert sum(one["path"].endswith("/1001") for one in case.world.simulator.log[asked:]) == 3
    assert _mapping(case).check_due_at is None


def test_a_check_in_trouble_is_made_ever_more_rarely(case: Case) -> None:
    """500 for one agreement: each attempt is counted, and what was found before stays until one succeeds."""
    _asked_again(case, faults.Status(status=500, match=AGREEMENT))
    wait_for(lambda: _attempts(case) >= 3, "three attempts")
    assert _problems(case) == []
    case.world.simulator.faults.clear()
    wait_for(lambda: _attempts(case) == 0, "the check")


def _problems(case: Case) -> list[str]:
    """Return the finding of the last check of company 1's mapping."""
    return [why["code"] for why in (_mapping(case).check or {})["problems"]]


def _attempts(case: Case) -> int:
    """The attempts at a check of company 1's mapping that failed since the last that did not."""
    return _mapping(case).check_attempts


def _mapping(case: Case) -> mappings.Mapping:
    with case.world.database.begin() as tx:
        return mappings.of_companies(tx, "p1", {"c1"})["c1"]
