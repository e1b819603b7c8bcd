"""While thousands of companies are read, page by page, the partner's other work goes on."""

import pytest

from cwclient.simulator import faults
from messages import ConnectionChanged
from tests.e2e.test_catalog import COMPANIES, add
from tests.support.asking import answer_to, answered, ask, question, reads
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import now
from worker import run

PAGES = 10

LONG = question("companies")


@pytest.fixture
def listing(case: Case, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A list of ten slow pages is under way: the first one has been asked for."""
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.2)
    add(case.world, companies=[{"id": number, "name": f"Firm {number}"} for number in range(1000, PAGES * 1000)])
    case.world.simulator.faults.set([faults.Latency(seconds=0.6, match=faults.Match(path=COMPANIES))])
    case.world.publish(LONG)
    wait_for(lambda: reads(case.world, COMPANIES), "the first page")
    return case


def test_a_push_and_a_short_question_do_not_wait_for_a_long_list(listing: Case) -> None:
    """Whoever opens the drop-down of companies holds up neither a push nor the next drop-down."""
    assert ask(listing.world, question("agreements", cw_company_id=1)).choices
    assert listing.push(5)["c1"].status == "updated"
    assert answer_to(listing.world, LONG) is None
    assert answered(listing.world, LONG).choices
    assert reads(listing.world, COMPANIES) == PAGES


def test_a_disconnect_ends_a_long_list(listing: Case) -> None:
    """Once a disconnect is stored no further page is asked for with the former keys."""
    event = ConnectionChanged(partner_id="p1", correlation_id="test", changed_at=now(), disconnected=True)
    listing.world.publish(event)
    told = answered(listing.world, LONG).problem
    assert told is not None
    assert told.code == "not_connected"
    wait_for(lambda: not listing.is_running(), "the end of the run")
    assert reads(listing.world, COMPANIES) < PAGES


def test_new_keys_begin_a_long_list_anew(listing: Case) -> None:
    """What the former keys had listed so far is no part of the answer, and what they meet is no fault of the new."""
    listing.set_key("another")
    connected = listing.world.connected("p1", "another")
    listing.world.publish(connected)
    assert ask(listing.world, question("agreements", cw_company_id=1)).choices
    assert answered(listing.world, LONG).choices
    assert PAGES < reads(listing.world, COMPANIES) < 2 * PAGES
    assert listing.push(5)["c1"].status == "updated"
