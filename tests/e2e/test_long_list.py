"""While thousands of companies are read, page by page, the partner's other work goes on."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from cwclient.simulator import faults
from messages import ConnectionChanged
from store import StoreConflict, connections, leases
from tests.e2e.test_catalog import COMPANIES, add
from tests.support.asking import answer_to, answered, ask, question, reads
from tests.support.case import Case
from tests.support.waiting import wait_for, within
from tests.support.world import PRIVATE_KEY, now
from worker.sync import commit, run

PAGES = 25

LONG = question("companies")


@pytest.fixture
def listing(case: Case, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A list of slow pages is under way: the first one has been asked for."""
    _list(case, monkeypatch)
    return case


def _list(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOAD_SECONDS", 0.2)
    add(case.world, companies=[{"id": number, "name": f"Firm {number}"} for number in range(1000, PAGES * 1000)])
    case.world.simulator.faults.set([faults.Latency(seconds=within(0.4), match=faults.Match(path=COMPANIES))])
    case.world.publish(LONG)
    wait_for(lambda: reads(case.world, COMPANIES), "the first page")


def test_a_push_and_a_short_question_do_not_wait_for_a_long_list(listing: Case) -> None:
    """A coordinator who opens the drop-down of companies holds up neither a push nor the next drop-down."""
    assert ask(listing.world, question("agreements", cw_company_id=1)).choices
    assert listing.push(5)["c1"].status == "updated"
    assert answer_to(listing.world, LONG) is None
    listing.world.simulator.faults.clear()
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


def _saved(case: Case) -> datetime | None:
    """The time of the connection's newest version."""
    with case.world.database.begin() as tx:
        current = connections.current(tx, "p1")
    return current.changed_at if current else None


def test_new_keys_begin_a_long_list_anew(listing: Case) -> None:
    """The answer leaves out what the former keys had listed, and the trouble that these meet is no fault of the new."""
    listing.set_key(PRIVATE_KEY, "another")
    connected = listing.world.connected("p1", "another")
    listing.world.publish(connected)
    wait_for(lambda: _saved(listing) == connected.changed_at, "the new keys")
    listing.set_key("another")
    assert ask(listing.world, question("agreements", cw_company_id=1)).choices
    listing.world.simulator.faults.clear()
    assert answered(listing.world, LONG).choices
    assert PAGES < reads(listing.world, COMPANIES) < 2 * PAGES
    assert listing.push(5)["c1"].status == "updated"


def test_wrong_keys_are_confirmed_once_though_a_list_goes_on(listing: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that came by the former keys says nothing of new ones: these are refused twice, and lines fail by that."""
    monkeypatch.setattr(run, "LOAD_SECONDS", 1.0)
    listing.world.simulator.faults.set([faults.Latency(seconds=within(0.6))])
    connected = listing.world.connected("p1", "wrong")
    push = listing.world.push("p1", {1: 5, 2: 5}, connection=connected)
    listing.world.publish(push)
    wait_for(lambda: listing.world.state_of(push) == "accepted", "the push, which waits for the connection")
    listing.world.publish(connected)
    wait_for(lambda: listing.world.state_of(push) == "completed", "the push's completion")
    assert [record["status"] for record in listing.world.simulator.log].count(401) == 2


def test_a_new_connection_answers_for_itself_though_a_list_goes_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hours in which the former server was silent are not held against the next one, which failed once."""
    with case.world.database.partner("p1") as tx:
        since = now() - timedelta(hours=2)
        leases.save_health(tx, "p1", leases.Health(unreachable_count=2, unreachable_since=since))
    _list(case, monkeypatch)
    away = faults.Status(status=503, match=faults.Match(path="companyinfo"))
    case.world.simulator.faults.set([faults.Latency(seconds=within(0.6), match=faults.Match(path=COMPANIES)), away])
    connected = case.world.connected("p1")
    push = case.world.push("p1", {1: 5}, connection=connected)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push, which waits for the connection")
    case.world.publish(connected)
    wait_for(lambda: (check := case.check()) and check["problem"], "the check, which fails")
    case.world.simulator.faults.clear()
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert answer.status == "updated"


def test_a_push_does_not_wait_for_a_list_that_outlasts_the_slice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list holds the turn to its end in any case; what it does not do is to hold up the push besides."""
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.5)
    _list(case, monkeypatch)
    wait_for(lambda: reads(case.world, COMPANIES) >= 3, "the end of the slice")
    assert case.push(5)["c1"].status == "updated"
    assert answer_to(case.world, LONG) is None
    case.world.simulator.faults.clear()
    assert answered(case.world, LONG).choices
    assert reads(case.world, COMPANIES) == PAGES


def test_a_run_that_ends_in_trouble_leaves_no_list_behind(listing: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run begins the list anew, and the former one asks for no page beside it."""
    met: list[int] = []

    def meets_another(*given: Any, **named: Any) -> Any:
        if not met:
            met.append(1)
            raise StoreConflict("transactions met")
        return commit.commit_jobs(*given, **named)

    monkeypatch.setattr(run, "commit_jobs", meets_another)
    assert listing.push(5)["c1"].status == "updated"
    assert answered(listing.world, LONG).choices
    assert met
    assert reads(listing.world, COMPANIES) < PAGES + PAGES // 2
