"""A 404 may be a codebase that an upgrade of the cloud has moved: it is looked up again, now and then."""

from datetime import timedelta

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import ConnectionCheckRequested
from store.ledger import LedgerEntry
from tests.support.case import Case, code
from tests.support.passing import is_left_alone, time_passes
from tests.support.waiting import wait_for
from tests.support.world import now
from worker.sync import transitions
from worker.sync.job import Job

REDISCOVERED = timedelta(minutes=5)


def _calls(case: Case, since: int) -> list[tuple[str, int | None]]:
    """The calls since then: `look up` or the method, and the status."""
    records = case.world.simulator.log[since:]
    return [("look up" if "/companyinfo/" in one["path"] else one["method"], one["status"]) for one in records]


def test_a_moved_codebase_is_found_again(case: Case) -> None:
    """After an upgrade of the cloud the base URL is looked up again and the push goes on."""
    time_passes(case.world.database, REDISCOVERED)
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    asked = len(case.world.simulator.log)
    answer = case.push()["c1"]
    assert (answer.status, answer.attempts) == ("updated", 1)
    assert _calls(case, asked) == [("GET", 400), ("look up", 200), ("GET", 200), ("PATCH", 200)]


def test_a_codebase_that_moves_between_read_and_write_is_found_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrade comes when additions are read but not yet written: they are decided anew, and no line fails."""
    time_passes(case.world.database, REDISCOVERED)
    entry_of = transitions.entry_of

    def upgraded(job: Job) -> LedgerEntry:
        case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
        return entry_of(job)

    monkeypatch.setattr(transitions, "entry_of", upgraded)
    answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"updated"}
    assert sorted(write["quantity_after"] for write in case.world.writes()) == [5, 5]
    assert case.dead() == {}


def test_a_codebase_that_moves_just_after_it_was_found_is_waited_for(case: Case) -> None:
    """The look-up of a moment ago stands in the way of the next: one request, no line fails, and then it goes on."""
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    asked = len(case.world.simulator.log)
    push = case.world.push("p1", {1: 5, 2: 6})
    case.world.publish(push)
    wait_for(lambda: is_left_alone(case.world.database, "p1"), "the pause")
    assert _calls(case, asked) == [("GET", 400)]
    (waiting,) = [answer for answer in case.world.answers(push).values() if answer is not None]
    assert (waiting.status, code(waiting), waiting.attempts) == ("retrying", "moved", 0)
    time_passes(case.world.database, REDISCOVERED)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert {answer and answer.status for answer in case.world.answers(push).values()} == {"updated"}
    assert case.dead() == {}


def test_a_404_of_everything_is_no_record_that_is_gone(case: Case) -> None:
    """A count tells the former codebase, just looked up, from a record; the new one is found in the end."""
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    case.world.simulator.faults.set([faults.Status(status=404, match=Match(path="/v2025_1/"))])
    push = case.world.push("p1", {1: 5, 2: 6})
    case.world.publish(push)
    wait_for(lambda: case.world.answers(push), "the first answer")
    assert {code(answer) for answer in case.world.answers(push).values() if answer} <= {"unreachable"}
    time_passes(case.world.database, REDISCOVERED)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert {answer and answer.status for answer in case.world.answers(push).values()} == {"updated"}


def test_a_codebase_that_moves_just_after_it_was_found_between_read_and_write_is_waited_for(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refused write has changed nothing and leaves no row open."""
    entry_of = transitions.entry_of

    def upgraded(job: Job) -> LedgerEntry:
        case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
        return entry_of(job)

    with monkeypatch.context() as patched:
        patched.setattr(transitions, "entry_of", upgraded)
        push = case.world.push("p1", {1: 5})
        case.world.publish(push)
        wait_for(lambda: is_left_alone(case.world.database, "p1"), "the pause")
    assert [row.outcome for row in case.world.ledger()] == ["refused"]
    time_passes(case.world.database, REDISCOVERED)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert case.world.quantity("p1", 100_001) == 5


def test_a_check_finds_a_codebase_that_has_just_moved(case: Case) -> None:
    """A check of the connection looks the address up at once, and the pause is over for all that has not met it."""
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    case.world.publish(case.world.push("p1", {1: 5, 2: 5}))
    wait_for(lambda: is_left_alone(case.world.database, "p1"), "the pause")
    check = ConnectionCheckRequested(partner_id="p1", correlation_id="x", requested_at=now(), requested_by="ana")
    case.world.publish(check)
    wait_for(lambda: [write["quantity_after"] for write in case.world.writes()] == [5], "the other line")


MAINTENANCE = [
    pytest.param(faults.Html(status=200, times=3), id="200"),
    pytest.param(faults.Redirect(location="https://status.example/", times=3), id="302"),
    pytest.param(faults.Redirect(location="/maintenance.htm", status=307, times=3), id="307"),
    pytest.param(faults.Html(status=404, times=3), id="404"),
    pytest.param(faults.Answer(status=304, times=3), id="304"),
]


@pytest.mark.parametrize("page", MAINTENANCE)
@pytest.mark.parametrize("since", [timedelta(0), REDISCOVERED], ids=["just found", "found long ago"])
def test_a_page_of_maintenance_is_waited_out(case: Case, page: faults.Fault, since: timedelta) -> None:
    """However the page comes, at an address where ConnectWise has answered before: no line fails."""
    time_passes(case.world.database, since)
    case.world.simulator.faults.set([page])
    answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"updated"}
    assert case.dead() == {}


@pytest.mark.parametrize(
    "page", [faults.Html(status=404), faults.Redirect(location="/"), faults.Answer(status=404, media_type="text/html")]
)
def test_a_former_codebase_that_answers_with_a_page_is_left_in_the_end(case: Case, page: faults.Fault) -> None:
    """It looks like maintenance; once it may be looked up again the new one is found, and no line has failed."""
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    case.world.simulator.faults.set([page.model_copy(update={"match": Match(path="/v2025_1/")})])
    push = case.world.push("p1", {1: 5, 2: 6})
    case.world.publish(push)
    wait_for(lambda: case.world.answers(push), "the first answer")
    assert {code(answer) for answer in case.world.answers(push).values() if answer} <= {"unreachable"}
    time_passes(case.world.database, REDISCOVERED)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert {answer and answer.status for answer in case.world.answers(push).values()} == {"updated"}
    assert case.dead() == {}


@pytest.mark.parametrize("page", MAINTENANCE)
def test_a_check_during_maintenance_fails_no_line(case: Case, page: faults.Fault) -> None:
    """A coordinator who checks the connection reads that ConnectWise does not answer, not that the URL is wrong."""
    case.world.simulator.faults.set([page.model_copy(update={"times": 1})])
    before = case.check()
    check = ConnectionCheckRequested(partner_id="p1", correlation_id="x", requested_at=now(), requested_by="ana")
    case.world.publish(check, case.world.push("p1", {1: 5}))
    wait_for(lambda: case.check() != before, "the check")
    found = case.check()
    assert found is not None
    assert case.push(6)["c1"].status == "updated"
    assert case.dead() == {}


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_404_that_stays_is_looked_up_once_in_five_minutes(case: Case, method: str) -> None:
    """Records that are gone look like a moved codebase: one look-up for all of them, the next 5 minutes later."""
    time_passes(case.world.database, REDISCOVERED)
    match = Match(path=r"/additions/10000\d$", method=method)
    case.world.simulator.faults.set([faults.Status(status=404, match=match)])
    asked = len(case.world.simulator.log)
    for looked_up in (1, 1, 2):
        answers = case.push(companies=(1, 2))
        assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "record_not_found")}
        assert [answer.problem and answer.problem.said for answer in answers.values()] == ["Resource not found"] * 2
        assert _calls(case, asked).count(("look up", 200)) == looked_up
        if looked_up == 1:
            time_passes(case.world.database, REDISCOVERED / 2)
    assert _calls(case, asked).count((method, 404)) == 6
    assert case.world.writes() == []
    assert case.dead() == {}
