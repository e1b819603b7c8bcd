"""A question that is refused is answered, whatever is in it: nothing that is copied into the answer can spoil that."""

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from messages import PushCompleted, PushRequested, RevertRequested, decode, encode, generate_keypair
from store import Database
from store.schema import dead_letters, outbox
from tests.support.reverting import revert_of
from tests.support.samples import push
from worker.app import App, build
from worker.messaging.broker import Delivery, Settlement
from worker.settings import load
from worker.topology import queue_of

WIDE = "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL X}"
"""A character of four bytes."""

IDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=128) | st.sampled_from(
    ["x" * 128, "界" * 100, WIDE * 63, WIDE * 64, WIDE * 128]
)
ODD = st.sampled_from(["", " x", "a\0b", "\ud800", "x\udfff", "界" * 100, WIDE * 128, "x" * 129, "x" * 100_000])
ODD_VALUES = ODD | st.none() | st.integers() | st.booleans() | st.lists(ODD, max_size=3) | st.text(max_size=300)

_GOOD = push()
QUESTIONS: tuple[PushRequested | RevertRequested, ...] = (_GOOD, revert_of(_GOOD, "c-1"))
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "requested_at": ODD | st.just("2999-01-01T00:00:00Z"),
    "requested_by": st.just("") | st.sampled_from(["a\0b", "\ud800", WIDE * 257]),
    "source": st.sampled_from(["", "\ud800", 5]),
    "time": ODD,
    "id": ODD,
    "causation_id": st.sampled_from(["", "\0", "\ud800", WIDE * 129, 7]),
    "traceparent": ODD,
}
OF_PUSHES: dict[str, st.SearchStrategy[Any]] = {
    "mode": ODD,
    "period": ODD | st.just({"start": "2026-12-01", "end": "2026-11-01"}),
    "lines": st.just([])
    | IDS.map(lambda one: [{"company_id": one, "company_name": WIDE * 256, "billable_users": 1}] * 2)
    | ODD.map(lambda one: [{"company_id": one, "company_name": one, "billable_users": -1}]),
}
"""Values of fields that no reader takes; several of one company are told with its id."""


@st.composite
def _broken(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """The id that its answer is to name, and the question."""
    question = draw(st.sampled_from(QUESTIONS))
    is_push = isinstance(question, PushRequested)
    fields = WRONG | (OF_PUSHES if is_push else {"company_ids": ODD | st.just([])})
    wrong = draw(st.dictionaries(st.sampled_from(sorted(fields)), st.none(), min_size=1, max_size=3))
    content = json.loads(encode(question).body) | {name: draw(fields[name]) for name in wrong}
    content |= draw(
        st.dictionaries(st.text(max_size=20).filter(lambda name: name not in content), ODD_VALUES, max_size=2)
    )
    push_id = draw(IDS)
    content |= {"partner_id": draw(IDS), ("push_id" if is_push else "revert_id"): push_id}
    correlation_id = draw(IDS | ODD_VALUES)
    if draw(st.booleans()):
        content["correlation_id"] = correlation_id
    else:
        del content["correlation_id"]
    return push_id, content


def _worker(database: Database) -> App:
    """A worker that is not started."""
    url = database.engine.url.render_as_string(hide_password=False)
    given = {
        "database_url": url,
        "client_id": "00000000-0000-0000-0000-000000000001",
        "seal_keys": generate_keypair().private,
    }
    return build(load(given | {"broker_url": "local:"}))


def _delivery(content: dict[str, Any]) -> Delivery:
    kind = content["type"]
    properties = {"message_id": "m", "type": kind, "content_type": "application/json", "headers": {}}
    return Delivery(kind, queue_of(kind), json.dumps(content).encode(), properties, redelivered=False)


def test_a_broken_question_that_can_be_addressed_is_answered(database: Database) -> None:
    """A refused push is one dead letter `contract`, and one `push.completed` that says refused and why."""
    app = _worker(database)

    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(_broken())
    @example(("p", json.loads(encode(_GOOD).body) | {"push_id": "p", "correlation_id": "界" * 100}))
    @example((WIDE * 96, json.loads(encode(_GOOD).body) | {"push_id": WIDE * 96, "correlation_id": None}))
    def check(broken: tuple[str, dict[str, Any]]) -> None:
        push_id, content = broken
        with database.begin() as tx:
            tx.execute(delete(dead_letters))
            tx.execute(delete(outbox))
        assert app.dispatcher.handle([_delivery(content)]) == [Settlement.ACK]
        with database.begin() as tx:
            assert list(tx.execute(select(dead_letters.c.reason)).scalars()) == ["contract"]
            (body,) = tx.execute(select(outbox.c.body)).scalars()
        answer = decode(body, type="push.completed.v1", content_type="application/json")
        assert isinstance(answer, PushCompleted)
        assert (answer.partner_id, answer.push_id, answer.status) == (content["partner_id"], push_id, "refused")
        assert answer.problem is not None
        assert (answer.period is not None) == (content.get("period") == json.loads(encode(_GOOD).body)["period"])

    check()
    app.database.close()
