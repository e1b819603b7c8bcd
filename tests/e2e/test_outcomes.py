"""The outcome table, provoked through the simulator: what became of the line, and what the coordinator reads."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from cwclient import agreement_link, company_link
from cwclient.simulator import StateDocument, faults
from cwclient.simulator.faults import Match
from tests.support.case import Case, code
from tests.support.passing import time_passes
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.rules import retry
from worker.sync import transitions

ADDITION = Match(path=r"/additions/10000\d$")
PATCH = Match(path=r"/additions/10000\d$", method="PATCH")
GET = Match(path=r"/additions/10000\d$", method="GET")


def _cancel(world: World) -> None:
    world.simulator.state.change("cw-p1", "additions", 100_001, cancelledDate="2026-01-01T00:00:00Z")


def _expire(world: World) -> None:
    world.simulator.state.change("cw-p1", "agreements", 1001, agreementStatus="Expired")


def _cancel_agreement(world: World) -> None:
    world.simulator.state.change("cw-p1", "agreements", 1001, cancelledFlag=True, agreementStatus="Cancelled")


def _deactivate_agreement(world: World) -> None:
    world.simulator.state.change("cw-p1", "agreements", 1001, agreementStatus="Inactive")


def _change_addition(**fields: object) -> Callable[[World], None]:
    return lambda world: world.simulator.state.change("cw-p1", "additions", 100_001, **fields)


def _remove(world: World) -> None:
    world.simulator.state.remove("cw-p1", "additions", 100_001)


def _fault(*switched: faults.Fault) -> Callable[[World], None]:
    return lambda world: world.simulator.faults.set(list(switched))


FAILED = [
    pytest.param(_change_addition(additionStatus="Cancelled"), "addition_cancelled", id="cancelled without a date"),
    pytest.param(_expire, "agreement_expired", id="expired agreement"),
    pytest.param(_change_addition(billCustomer="DoNotBill"), "not_billable", id="not billed"),
    pytest.param(_change_addition(additionStatus="Inactive"), "addition_not_active", id="inactive addition"),
    pytest.param(_cancel_agreement, "agreement_cancelled", id="cancelled agreement"),
    pytest.param(_deactivate_agreement, "agreement_inactive", id="inactive agreement"),
    pytest.param(_remove, "record_not_found", id="deleted addition"),
    pytest.param(_fault(faults.Status(status=404, match=GET)), "record_not_found", id="404"),
    pytest.param(_fault(faults.Status(status=400, match=PATCH)), "record_refused", id="400 InvalidObject"),
]


@pytest.mark.parametrize(("arrange", "problem"), FAILED)
def test_what_the_record_forbids_fails_only_its_line(
    case: Case, arrange: Callable[[World], None], problem: str
) -> None:
    """A record that cannot be billed fails its own line, once, with what to change; the neighbour is written."""
    arrange(case.world)
    asked = len(case.world.simulator.log)
    answer = case.push(companies=(1,))["c1"]
    assert (answer.status, code(answer), answer.attempts) == ("failed", problem, 1)
    assert answer.problem is not None
    assert answer.problem.link == agreement_link(case.world.simulator.url, "cw-p1", 1001)
    calls = [record["method"] for record in case.world.simulator.log[asked:] if record["path"].endswith("/100001")]
    assert calls in (["GET"], ["GET", "PATCH"])
    case.world.simulator.faults.clear()
    assert case.push(7, companies=(2,))["c2"].status == "updated"
    assert case.dead() == {}


def test_what_connectwise_refuses_is_sent_once_and_its_words_are_kept(case: Case) -> None:
    """A 400 on the write fails its line at once; the coordinator reads our words, and ConnectWise's own beside them."""
    match = Match(path=r"/additions/100001$", method="PATCH")
    case.world.simulator.faults.set([faults.Status(status=400, match=match)])
    asked = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    refused = answers["c1"]
    assert (refused.status, code(refused), refused.attempts) == ("failed", "record_refused", 1)
    assert refused.problem is not None
    assert refused.problem.title == "ConnectWise refused the change"
    assert refused.problem.fix == "Open the agreement in ConnectWise, correct what it names, then push again."
    assert refused.problem.said == "addition object is invalid The quantity cannot be changed."
    assert answers["c2"].status == "updated"
    calls = [record["method"] for record in case.world.simulator.log[asked:] if record["path"].endswith("/100001")]
    assert calls == ["GET", "PATCH"]
    ends = [(row.addition_id, row.outcome, row.http_status) for row in case.world.ledger()]
    assert sorted(ends) == [(100_001, "refused", 400), (100_002, "written", 200)]
    assert case.dead() == {}


@pytest.mark.parametrize(("connectwise", "problem"), [("refuse", "record_not_found"), ("accept", "addition_elsewhere")])
def test_an_addition_of_another_agreement_is_not_written(case: Case, connectwise: str, problem: str) -> None:
    """A mapping whose agreement does not own the addition fails, whatever ConnectWise answers, and is not written."""
    case.world.simulator.state.merge(StateDocument.model_validate({"foreign_additions": connectwise}))
    mixed = case.world.mapped("p1", 1).model_copy(update={"cw_company_id": 2, "agreement_id": 1002})
    case.world.publish(mixed)
    checks = wait_for(lambda: case.checked_mappings(mixed.changed_at, 1), "the check") or {}
    assert [found["code"] for found in checks["c1"]["problems"]] == [problem]
    asked = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    answer = answers["c1"]
    assert (answer.status, code(answer), answer.attempts) == ("failed", problem, 1)
    assert answer.problem is not None
    assert answer.problem.fix == "Choose the agreement and addition for this company again."
    assert answer.problem.link == agreement_link(case.world.simulator.url, "cw-p1", 1002)
    assert answers["c2"].status == "updated"
    calls = [record["method"] for record in case.world.simulator.log[asked:] if record["path"].endswith("/100001")]
    assert calls == ["GET"]
    assert case.world.quantity("p1", 100_001) == 1
    assert case.dead() == {}


def test_a_mapping_that_has_gone_bad_leads_to_its_record(case: Case) -> None:
    """The check of a mapping names the record in ConnectWise to open: the agreement, else the company."""
    _cancel(case.world)
    case.world.simulator.state.remove("cw-p1", "companies", 3)
    agreement = case.world.mapped("p1", 1)
    company = case.world.mapped("p1", 3).model_copy(update={"agreement_id": None, "addition_id": None})
    case.world.publish(agreement, company)
    found = wait_for(lambda: case.checked_mappings(agreement.changed_at, 2), "the checks") or {}
    url = case.world.simulator.url
    assert found["c1"]["problems"][0]["code"] == "addition_cancelled"
    assert found["c1"]["problems"][0]["link"] == agreement_link(url, "cw-p1", 1001)
    assert found["c3"]["problems"][0]["link"] == company_link(url, "cw-p1", 3)


RETRIED = [
    pytest.param(faults.Status(status=500, match=GET, times=2), id="500 of the record"),
    pytest.param(faults.Status(status=503, match=GET, times=2), id="503"),
    pytest.param(faults.BrokenJson(match=GET, times=2), id="broken JSON"),
    pytest.param(faults.Reset(match=GET, times=2), id="reset"),
    pytest.param(faults.Html(match=GET, times=2), id="HTML"),
    pytest.param(faults.Html(status=200, match=GET, times=2), id="HTML 200"),
    pytest.param(faults.Hang(match=GET, times=1), id="no answer"),
    pytest.param(faults.Status(status=429, retry_after=1, match=GET, times=1), id="429"),
    pytest.param(faults.MissingClientId(match=GET, times=1), id="clientId refused"),
    pytest.param(faults.Status(status=500, match=PATCH, times=1), id="500 of the write"),
    pytest.param(faults.Reset(match=PATCH, times=1), id="write reset"),
    pytest.param(faults.Hang(match=PATCH, times=1), id="write without answer"),
    pytest.param(faults.Status(status=429, retry_after=1, match=PATCH, times=1), id="429 of the write"),
]


@pytest.mark.parametrize("fault", RETRIED)
def test_what_passes_is_tried_again(case: Case, fault: faults.Fault) -> None:
    """Trouble that passes delays the line; in the end it is written once, and nobody has to do anything."""
    case.world.simulator.faults.set([fault])
    asked = len(case.world.simulator.log)
    answer = case.push()["c1"]
    assert (answer.status, answer.quantity_before, answer.quantity_after) == ("updated", 1, 5)
    assert [write["quantity_after"] for write in case.world.writes()] == [5]
    calls = [record["method"] for record in case.world.simulator.log[asked:]]
    # Each failure costs one call, and one more if what became of a write has to be read.
    assert calls.count("PATCH") == 1 + (fault.match.method == "PATCH")
    assert len(calls) <= 2 + 2 * (fault.times or 0)
    assert case.dead() == {}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.LostResponse(match=PATCH, times=1), id="connection closed"),
        pytest.param(faults.Hang(applied=True, match=PATCH, times=1), id="no answer"),
        pytest.param(faults.BrokenJson(match=PATCH, times=1), id="broken answer"),
    ],
)
def test_a_write_whose_answer_is_lost_is_not_repeated(case: Case, fault: faults.Fault) -> None:
    """ConnectWise took the write but the answer was lost: it is read, not written again; before is what was before."""
    case.world.simulator.faults.set([fault])
    answer = case.push()["c1"]
    assert (answer.status, answer.quantity_before, answer.quantity_after) == ("updated", 1, 5)
    assert len(case.world.writes()) == 1
    assert [(row.outcome, row.quantity_before, row.quantity_after) for row in case.world.ledger()] == [
        ("written", 1, 5)
    ]


def test_a_server_that_is_away_is_asked_once_a_pause_and_given_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three failures in a row, then one request a pause for all lines; after RETRY_FOR all fail, with a dead letter."""
    monkeypatch.setattr(retry, "RETRY_FIRST", retry.RETRY_MAX)
    # No jitter: each pause is as long as it may be.
    monkeypatch.setattr(random, "random", lambda: 1.0)
    case.world.simulator.faults.set([faults.Status(status=503, match=ADDITION)])
    asked = len(case.world.simulator.log)
    push = case.world.push("p1", {1: 5, 2: 5})
    case.world.publish(push)
    for requests in (2, 3, 4, 5):
        wait_for(lambda count=requests: len(case.world.simulator.log) == asked + count, "the request")  # type: ignore[misc]
        answers = case.world.answers(push).values()
        assert {answer.status for answer in answers if answer is not None} <= {"retrying"}
        time_passes(case.world.database, timedelta(seconds=retry.RETRY_MAX))
    wait_for(lambda: len(case.world.simulator.log) == asked + 6, "the request")
    assert case.dead() == {}
    time_passes(case.world.database, case.world.settings.retry_for)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    given_up = [answer for answer in case.world.answers(push).values() if answer is not None]
    assert [(answer.status, code(answer)) for answer in given_up] == [("failed", "exhausted")] * 2
    assert all(answer.problem and "ConnectWise does not answer." in answer.problem.detail for answer in given_up)
    assert len(case.world.simulator.log) == asked + 7
    assert case.dead() == {"exhausted": 1}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Status(status=503, match=GET, times=4), id="unreachable"),
        pytest.param(faults.Status(status=429, retry_after=1, match=GET, times=1), id="429"),
    ],
)
def test_trouble_that_nobody_waited_for_is_not_held_against_a_later_push(case: Case, fault: faults.Fault) -> None:
    """Previews met trouble days ago, then nothing was asked: a push that meets some today is retried all the same."""
    case.world.simulator.faults.set([fault])
    for _ in range(fault.times or 0):
        case.preview()
    time_passes(case.world.database, timedelta(days=2))
    case.world.simulator.faults.set([fault.model_copy(update={"times": 1})])
    assert case.push()["c1"].status == "updated"
    assert case.dead() == {}


def test_a_pause_that_the_check_of_a_connection_meets_is_kept(case: Case) -> None:
    """429 with Retry-After on the check: no line calls ConnectWise before that is over."""
    case.world.simulator.faults.set([faults.Status(status=429, retry_after=2, match=Match(path="/count$"), times=1)])
    asked = len(case.world.simulator.log)
    connection = case.world.connected("p1")
    push = case.world.push("p1", {1: 5}, connection=connection)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push's acceptance")
    case.world.publish(connection)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    limited, after = (datetime.fromisoformat(record["time"]) for record in case.world.simulator.log[asked + 1 :][:2])
    assert after - limited >= timedelta(seconds=1.9)
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert answer.status == "updated"


def test_one_record_is_given_up_while_its_neighbour_is_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """An addition that only meets errors of ConnectWise is exhausted alone, with a dead letter; others are written."""
    monkeypatch.setattr(transitions, "is_given_up", lambda *_: True)
    case.world.simulator.faults.set([faults.Status(status=500, match=Match(path=r"/additions/100001$"))])
    answers = case.push(companies=(1, 2))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("failed", "exhausted"),
        "c2": ("updated", None),
    }
    assert case.dead() == {"exhausted": 1}
