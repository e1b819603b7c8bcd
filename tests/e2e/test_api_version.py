"""An error that every request of a connection meets, or that only we can mend, is blamed on no record."""

import json
from pathlib import Path

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Answer, Match
from messages import ConnectionCheckRequested
from tests.support.case import Case, code
from tests.support.passing import is_left_alone, time_passes
from tests.support.waiting import wait_for
from tests.support.world import World, now
from worker.rules import retry

NOT_SERVED = "The server does not support the API version '2025.8'."
READ = r"/additions/\d+$"


def _refused(said: str, status: int = 400, accept: str = "2025.8", method: str | None = None) -> Answer:
    match = Match(path="/apis/3.0/", accept=accept.replace(".", r"\."), method=method)
    return Answer(status=status, body=json.dumps({"code": "X", "message": said}), match=match)


def _check() -> ConnectionCheckRequested:
    return ConnectionCheckRequested(partner_id="p1", correlation_id="x", requested_at=now(), requested_by="ana")


def _calls(case: Case, since: int) -> list[tuple[str, int | None]]:
    return [(one["method"], one["status"]) for one in case.world.simulator.log[since:]]


def test_an_older_version_that_the_server_names_is_asked_for(case: Case) -> None:
    """An older ConnectWise is billed all the same; what it takes is found once, not for each line or each push."""
    case.world.simulator.faults.set([_refused(f"{NOT_SERVED} Served: 2023.1, 2024.3, 2026.1.")])
    asked = len(case.world.simulator.log)
    assert {answer.status for answer in case.push(companies=(1, 2)).values()} == {"updated"}
    assert sorted(_calls(case, asked)) == [("GET", 200), ("GET", 200), ("GET", 400), ("PATCH", 200), ("PATCH", 200)]
    wait_for(lambda: not case.is_running(), "the end of the run")
    asked = len(case.world.simulator.log)
    assert {answer.status for answer in case.push(7, companies=(1, 2)).values()} == {"updated"}
    assert sorted(_calls(case, asked)) == [("GET", 200), ("GET", 200), ("PATCH", 200), ("PATCH", 200)]


def test_a_version_that_is_refused_for_writes_only_is_left_for_an_older_one(case: Case) -> None:
    """A refused write has changed nothing, so the line is read and written again under the older version."""
    case.world.simulator.faults.set([_refused(f"{NOT_SERVED} Use 2024.3.", method="PATCH")])
    answer = case.push()["c1"]
    assert (answer.status, answer.quantity_before, answer.quantity_after) == ("updated", 1, 5)
    assert [row.outcome for row in case.world.ledger()] == ["written"]


def test_the_check_of_the_connection_asks_for_the_newest_version_again(case: Case) -> None:
    """A server that was upgraded is asked for the version of the setting from its next check on."""
    case.world.simulator.faults.set([_refused(f"{NOT_SERVED} Use 2024.3.")])
    case.push()
    wait_for(lambda: not case.is_running(), "the end of the run")
    case.world.simulator.faults.set([_refused("gone", accept="2024.3")])
    asked = len(case.world.simulator.log)
    case.world.publish(_check())
    wait_for(lambda: len(case.world.simulator.log) >= asked + 4 and not case.is_running(), "the check")
    assert {status for _, status in _calls(case, asked)} == {200}
    assert case.push(7)["c1"].status == "updated"
    assert {status for _, status in _calls(case, asked)} == {200}


@pytest.mark.parametrize(
    ("answer", "problem", "event"),
    [
        (_refused(f"{NOT_SERVED} It serves 2026.1 and later."), "api_version", "api_version.refused"),
        (_refused("no such media type", 415), "request_refused", "request.refused"),
        (_refused("Length Required", 411), "request_refused", "request.refused"),
    ],
    ids=["version", "media type", "length"],
)
def test_what_only_we_can_mend_waits_and_is_logged_as_ours(
    tmp_path: Path, sqlite_url: str, answer: Answer, problem: str, event: str
) -> None:
    """No line fails and no coordinator is sent to a record; the check, the log and `health` say that it is ours."""
    with World("local:", sqlite_url, tmp_path, companies=2) as world:
        case = Case(world)
        world.start_worker()
        world.publish(world.connected("p1"))
        wait_for(case.check, "the check of the connection")
        world.publish(world.mapped("p1", 1), world.mapped("p1", 2))
        wait_for(case.is_checked, "the checks")
        wait_for(lambda: not case.is_running(), "the end of the checks")
        world.simulator.faults.set([answer])
        asked = len(world.simulator.log)
        push = world.push("p1", {1: 5, 2: 6})
        world.publish(push)
        wait_for(lambda: is_left_alone(world.database, "p1"), "the pause")
        assert len(world.simulator.log) == asked + 1
        (waiting,) = [one for one in world.answers(push).values() if one is not None]
        assert (waiting.status, code(waiting), waiting.attempts) == ("retrying", problem, 0)
        lines = (tmp_path / "worker-0.log").read_text("utf-8").splitlines()
        (logged,) = [entry for line in lines if (entry := json.loads(line))["event"] == event]
        assert (logged["level"], logged["partner"]) == ("error", "p1")
        assert "1 partner: ConnectWise" in world.command("health").stdout
        checked = world.command("connection", "check", "--partner", "p1")
        assert checked.returncode == 1, checked.stderr
        assert (case.check() or {})["problem"]["code"] == problem

        world.simulator.faults.clear()
        wait_for(lambda: is_left_alone(world.database, "p1"), "the end of the check")
        time_passes(world.database, retry.OUR_FAULT_PAUSE)
        wait_for(lambda: world.state_of(push) == "completed", "the push's completion")
        assert {one and one.status for one in world.answers(push).values()} == {"updated"}
        assert case.dead() == {}


@pytest.mark.parametrize("status", [402, 405, 407, 413, 418, 421, 426, 451, 494])
def test_a_proxy_that_refuses_is_no_fault_of_a_record(case: Case, status: int) -> None:
    """A proxy in front of ConnectWise is waited for like a server that is away, and named."""
    match = Match(path=READ, method="PATCH")
    case.world.simulator.faults.set([Answer(status=status, media_type="text/plain", match=match, times=1)])
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: case.world.answers(push).get("c1"), "the first answer")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert (answer.status, code(answer)) == ("retrying", "gateway_refused")
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion", 60)
    assert case.world.quantity("p1", 100_001) == 5


@pytest.mark.parametrize("said", ["404 page not found", "", '{"message":"no Route matched with those values"}'])
def test_a_proxy_that_knows_no_route_for_writes_is_no_record_that_is_gone(case: Case, said: str) -> None:
    """The addition was just read, so a 404 that is not in the API's form is a proxy's; the writes pass in the end."""
    match = Match(path=READ, method="PATCH")
    case.world.simulator.faults.set([Answer(status=404, body=said, media_type="text/plain", match=match, times=2)])
    push = case.world.push("p1", {1: 5, 2: 6})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion", 60)
    assert {answer and answer.status for answer in case.world.answers(push).values()} == {"updated"}
    assert [row.http_status for row in case.world.ledger() if row.outcome == "refused"] == [404, 404]


def test_a_proxy_that_stops_every_write_is_named_to_the_end(case: Case) -> None:
    """A coordinator whose line was given up reads what stood in the way; the ledger says that nothing was applied."""
    match = Match(path=READ, method="PATCH")
    case.world.simulator.faults.set([Answer(status=405, body="no PATCH here", media_type="text/plain", match=match)])
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: case.world.answers(push).get("c1"), "the first answer")
    time_passes(case.world.database, case.world.settings.retry_for)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert answer.problem is not None
    assert (answer.status, answer.problem.code, answer.problem.said) == ("failed", "exhausted", "no PATCH here")
    assert "Something in front of ConnectWise stops our requests" in answer.problem.detail
    assert {(row.outcome, row.http_status) for row in case.world.ledger()} == {("refused", 405)}


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_read_that_is_refused_is_tried_again(case: Case, status: int) -> None:
    """Nothing was to be changed, so there is nothing in a record that a coordinator could correct."""
    match = Match(path=READ, method="GET")
    case.world.simulator.faults.set([Answer(status=status, body='{"code":"X","message":"no"}', match=match, times=1)])
    answer = case.push()["c1"]
    assert (answer.status, answer.attempts) == ("updated", 2)


def test_a_change_that_is_refused_fails_its_record(case: Case) -> None:
    """ConnectWise's own refusal of a quantity is told as ever."""
    case.world.simulator.faults.set([faults.Status(status=400, match=Match(method="PATCH"))])
    answer = case.push()["c1"]
    assert (answer.status, code(answer)) == ("failed", "record_refused")
