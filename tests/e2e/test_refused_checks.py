"""A mapping's check that is refused part of its reads: it stops no line, blames no other, and ends."""

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import SyncResult
from tests.support.case import Case, code
from tests.support.waiting import wait_for

COMPANY = Match(path="/company/companies/1$", method="GET")
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
