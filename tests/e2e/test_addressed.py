"""Every question that can be addressed is answered, under the correlation id that its sender chose."""

import json
from typing import Any
from uuid import uuid4

import pika
import structlog
from structlog.testing import capture_logs

from cwclient.simulator import faults
from messages import EXCHANGE_IN, ConnectionCheckRequested, MappingCheckRequested, Message, encode
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import now

BAD: dict[str, dict[str, Any]] = {
    "connection.changed.v1": {"changed_at": "yesterday", "site_url": "https://na.myconnectwise.net"},
    "connection.check_requested.v1": {"requested_at": "2026-11-22T10:00:00Z"},
    "mapping.changed.v1": {"company_id": "c1", "changed_at": "2999-01-01T00:00:00Z", "addition_id": 7},
    "mapping.check_requested.v1": {"company_ids": ["c1"], "requested_by": ""},
    "catalog.requested.v1": {"kind": "additions"},
    "push.requested.v1": {"push_id": "bad", "mode": "preview", "lines": []},
    "revert.requested.v1": {"revert_id": "bad", "push_id": ""},
}
ANSWERS = {
    "connection": "connection.checked.v1",
    "mapping": "mapping.checked.v1",
    "catalog": "catalog.listed.v1",
    "push": "push.completed.v1",
    "revert": "push.completed.v1",
}


def _send(case: Case, document: dict[str, Any], correlation_id: str | None = None) -> None:
    world = case.world
    with pika.BlockingConnection(pika.URLParameters(world.broker_url)) as connection:
        properties = pika.BasicProperties(
            type=document["type"], content_type="application/json", correlation_id=correlation_id
        )
        exchange = f"{world.settings.queue_prefix}{EXCHANGE_IN}"
        connection.channel().basic_publish(exchange, document["type"], json.dumps(document).encode(), properties)


def _answers(case: Case, correlation_id: str, count: int = 1) -> list[Message]:
    platform = case.world.platform
    assert platform is not None

    def come() -> list[Message]:
        return [one for one in list(platform.received) if one.correlation_id == correlation_id]

    wait_for(lambda: len(come()) >= count, f"the answers to {correlation_id}")
    return come()


def test_what_is_refused_is_answered(busy: Case) -> None:
    """A client that sends something wrong learns of it where it waits, be it a connection, a mapping or a question."""
    for kind, content in BAD.items():
        envelope = {"id": str(uuid4()), "type": kind, "time": "2026-11-22T10:00:00Z", "source": "node"}
        asked = {**envelope, "partner_id": "p1", "correlation_id": f"bad {kind}", **content}
        _send(busy, asked)
        (answer,) = _answers(busy, asked["correlation_id"])
        assert answer.type == ANSWERS[kind.partition(".")[0]]
        told = answer.model_dump(mode="json")
        problems = [told.get("problem"), *told.get("problems", ()), *told.get("warnings", ())]
        assert [problem["code"] for problem in problems if problem] == ["contract"], kind
        assert told["causation_id"] == asked["id"]
        if "changed_at" in told:
            assert told["changed_at"] <= f"{now():%Y-%m-%dT%H:%M:%S.%fZ}"
    assert busy.dead() == {"contract": len(BAD)}


def test_a_bad_question_changes_nothing_of_a_check(busy: Case) -> None:
    """A portal that shows the newest check goes on showing what was found, whatever was wrong with a later question."""
    saved = {
        "connection": busy.world.connected("p1").model_copy(update={"correlation_id": "saved connection"}),
        "mapping": busy.world.mapped("p1", 1).model_copy(update={"correlation_id": "saved mapping"}),
    }
    for kind, message in saved.items():
        busy.world.publish(message)
        (found,) = _answers(busy, message.correlation_id)
        asked = {
            "id": str(uuid4()),
            "type": f"{kind}.check_requested.v1",
            "time": "2026-11-22T10:00:00Z",
            "source": "a",
        }
        _send(busy, {**asked, "partner_id": "p1", "correlation_id": f"bad {kind}", **BAD[asked["type"]]})
        (answer,) = _answers(busy, f"bad {kind}")
        before, after = found.model_dump(mode="json"), answer.model_dump(mode="json")
        assert [warning["code"] for warning in after["warnings"]] == ["contract"]
        assert (after["changed_at"], after["status"]) == (before["changed_at"], before["status"])


def test_a_refusal_is_addressed_by_amqp_too(busy: Case) -> None:
    """A client whose body has no usable correlation id is answered under the one among AMQP's properties."""
    asked = {
        "id": str(uuid4()),
        "type": "push.requested.v1",
        "partner_id": "p1",
        "push_id": "bad",
        "correlation_id": "",
    }
    _send(busy, asked, "from-amqp")
    (answer,) = _answers(busy, "from-amqp")
    assert answer.type == "push.completed.v1"


def test_answers_carry_the_correlation_id_of_their_question(busy: Case) -> None:
    """Saving, checking again and pushing are told apart by what the client chose, not by ids of ours."""
    connection = busy.world.connected("p1").model_copy(update={"id": uuid4(), "correlation_id": "connect"})
    mapping = busy.world.mapped("p1", 1).model_copy(update={"id": uuid4(), "correlation_id": "map"})
    asked: dict[str, Any] = {"partner_id": "p1", "requested_at": now(), "requested_by": "ana"}
    review = ConnectionCheckRequested(correlation_id="review", **asked)
    compare = MappingCheckRequested(correlation_id="compare", company_ids=("c1",), **asked)
    push = busy.world.push("p1", {1: 5}).model_copy(update={"correlation_id": "push"})
    questions: dict[Message, tuple[str, ...]] = {
        connection: ("connection.checked.v1",),
        mapping: ("mapping.checked.v1",),
        review: ("connection.checked.v1",),
        compare: ("mapping.checked.v1",),
        push: ("push.completed.v1", "sync.result.v1"),
    }
    for question, kinds in questions.items():
        busy.world.publish(question)
        told = _answers(busy, question.correlation_id, len(kinds))
        assert {one.type for one in told} == set(kinds)


def test_all_log_lines_of_a_push_carry_its_correlation_id(case: Case) -> None:
    """An operator who looks for a click of the portal in the log finds all that became of it, calls that failed too."""
    case.world.simulator.faults.set(
        [faults.Status(status=500, match=faults.Match(path=r"/additions/100001$"), times=1)]
    )
    push = case.world.push("p1", {1: 5, 3: 2}).model_copy(update={"correlation_id": "click-1"})
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        case.world.publish(push)
        wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    ours = [line for line in lines if line.get("push") == push.push_id or line["event"].startswith(("push.", "call."))]
    assert {"push.completed", "call.failed", "line.updated", "line.skipped"} <= {line["event"] for line in ours}
    unnamed = [line["event"] for line in ours if line.get("correlation_id") != "click-1"]
    assert unnamed == []


def test_fields_that_are_ignored_are_logged_once_a_message(busy: Case) -> None:
    """An operator sees that a newer platform sends what this worker ignores, and which message; never what it holds."""
    push = busy.world.push("p1", {1: 5, 2: 6})
    document = json.loads(encode(push).body) | {"discount": "hidden-value"}
    for line in document["lines"]:
        line["note"] = "hidden-value"
    with capture_logs() as lines:
        _send(busy, document, "click-2")
        wait_for(lambda: busy.world.state_of(push) == "completed", "the push")
    (told,) = [line for line in lines if line["event"] == "message.unknown_fields"]
    assert (told["partner"], told["correlation_id"], told["type"]) == ("p1", push.correlation_id, "push.requested.v1")
    assert told["fields"] == ("lines[].note", "discount")
    assert "hidden-value" not in str(lines)
