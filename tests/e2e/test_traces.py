"""Traces, as an operator reads them: one from the platform's publish to each of its results, whatever came between."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

import pika
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, format_span_id, format_trace_id
from structlog.testing import capture_logs

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import (
    EXCHANGE_OUT,
    MappingChecked,
    Message,
    PushCompleted,
    PushRequested,
    RevertRequested,
    SyncResult,
)
from store import outbox
from tests.support.letters import Letters
from tests.support.reverting import revert_of
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY, World
from worker import app, logs, tracing
from worker.messaging import fair_share
from worker.tracing.recording import RecordedSpans
from worker.tracing.sampling import FollowLinks

AWAY = faults.Status(status=503, match=Match(path=r"/additions/10000\d$"))


class Recorded:
    """The spans of this process, and those that a platform makes of its own publishes."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracing.use(self._provider)

    def traceparent(self) -> str:
        """The context of a platform's publish, which begins a trace."""
        with self._provider.get_tracer("platform").start_as_current_span("publish", kind=SpanKind.PRODUCER) as span:
            context = span.get_span_context()
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"

    def all(self) -> tuple[ReadableSpan, ...]:
        """All spans that have ended."""
        return self._exporter.get_finished_spans()

    def of_trace(self, traceparent: str, kind: SpanKind) -> list[ReadableSpan]:
        """The worker's spans of this kind that are children of a platform's publish."""
        return [span for span in self.all() if span.kind is kind and _is_child(span, traceparent)]

    def errors(self, traceparent: str, kind: SpanKind) -> list[object]:
        """Their errors; None = a span of a success."""
        return [(span.attributes or {}).get("error.type") for span in self.of_trace(traceparent, kind)]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Traces are recorded in this process."""
    yield Recorded()
    tracing.use(None)


def _is_child(span: ReadableSpan, traceparent: str) -> bool:
    parent = span.parent
    _, trace_id, span_id, _ = traceparent.split("-")
    return parent is not None and (format_trace_id(parent.trace_id), format_span_id(parent.span_id)) == (
        trace_id,
        span_id,
    )


@contextmanager
def _results_unbound(world: World) -> Iterator[None]:
    """No queue takes results meanwhile: the broker returns each."""
    settings = world.settings
    queue = f"{settings.queue_prefix}{settings.results_queue}"
    exchange = f"{settings.queue_prefix}{EXCHANGE_OUT}"
    with pika.BlockingConnection(pika.URLParameters(world.broker_url)) as connection:
        channel = connection.channel()
        channel.queue_unbind(queue, exchange, "#")
        yield
        channel.queue_bind(queue, exchange, "#")


def test_one_trace_spans_the_outbox_a_dead_letter_its_replay_and_a_revert(
    amqp_url: str,
    postgresql_url: str,
    tmp_path: Path,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A push is deferred, fails, its result is returned and sent again, its letter is replayed: all are one trace."""
    monkeypatch.setattr(fair_share, "LARGE_BYTES", 100)  # the push is deferred
    with (
        capture_logs([structlog.contextvars.merge_contextvars, logs.name_span]) as lines,
        World(amqp_url, postgresql_url, tmp_path, retry_for=1.0) as world,
        app.build(world.settings),
    ):
        platform = world.platform
        assert platform is not None
        connection, mapped = world.connected("p1"), world.mapped("p1", 1)
        world.publish(connection, mapped)
        # The worker has declared everything by then, and will not bind the queue again.
        wait_for(lambda: any(isinstance(message, MappingChecked) for message in platform.received), "the check")
        push = _traced(world.push("p1", {1: 5}, connection=connection, mappings=[mapped]), recorded)
        context = push.traceparent or ""
        world.simulator.faults.set([AWAY])
        with _results_unbound(world):
            world.publish(push)
            wait_for(lambda: "message" in recorded.errors(context, SpanKind.PRODUCER), "a result that is returned")
        (letter,) = Letters(world).wait()
        assert letter.reason == "exhausted"
        wait_for(lambda: _results(platform.received, push), "the result, sent again")
        world.simulator.faults.clear()
        assert Letters(world).replay_all() == 1
        wait_for(lambda: "updated" in _results(platform.received, push), "the result of the replay")
        revert = revert_of(push, traceparent=recorded.traceparent())
        world.publish(revert)
        wait_for(lambda: "updated" in _results(platform.received, revert), "the result of the revert")
    # Both deliveries of the push, the second its replay, and all that left, are children of the platform's publish.
    assert recorded.errors(context, SpanKind.CONSUMER) == [None, None]
    assert set(recorded.errors(context, SpanKind.PRODUCER)) == {None, "message"}
    assert [span.name for span in recorded.of_trace(revert.traceparent or "", SpanKind.CONSUMER)] == [
        "process connectwise.revert-requested.v1"
    ]
    answers = [message for message in platform.received if isinstance(message, SyncResult | PushCompleted)]
    assert {answer.traceparent for answer in answers} == {push.traceparent, revert.traceparent}
    runs = [span for span in recorded.all() if span.name == "run"]
    assert {_linked(link.context) for run in runs for link in run.links} == {
        push.traceparent,
        revert.traceparent,
    }
    requests = [span for span in recorded.all() if span.kind is SpanKind.CLIENT]
    assert {span.parent.span_id for span in requests if span.parent} <= {span.context.span_id for span in runs}
    assert {"503", None} <= {(span.attributes or {}).get("error.type") for span in requests}
    assert {(span.attributes or {})["http.request.method"] for span in requests} == {"GET", "PATCH"}
    accepted = next(line for line in lines if line["event"] == "push.accepted")
    assert accepted["trace_id"] == context.split("-")[1]
    failed = next(line for line in lines if line["event"] == "call.failed")
    assert failed["span_id"] in {format_span_id(run.context.span_id) for run in runs}


def test_spans_hold_no_secret_and_no_name(
    amqp_url: str, postgresql_url: str, tmp_path: Path, recorded: Recorded
) -> None:
    """Neither a key nor the name of a person or a customer is in any span, also of requests that search by a name."""
    with World(amqp_url, postgresql_url, tmp_path) as world, app.build(world.settings):
        connection, mapped = world.connected("p1", private_key="wrong"), world.mapped("p1", 1)
        push = world.push("p1", {1: 5}, connection=connection, mappings=[mapped])
        world.publish(connection, mapped, push)
        wait_for(lambda: world.state_of(push) == "completed", "the refused push")
        world.publish(world.connected("p1"), world.push("p1", {1: 6}))
        wait_for(lambda: world.quantity("p1", 100_001) == 6, "the second push")
    text = "\n".join(span.to_json() for span in recorded.all())
    assert "PATCH" in text
    assert not [word for word in (PRIVATE_KEY, "wrong", "ana@msp.example", "Company 1", "Basic ") if word in text]


def test_the_text_of_an_error_is_in_no_span(
    amqp_url: str, postgresql_url: str, tmp_path: Path, recorded: Recorded
) -> None:
    """A rejection names its reason and an answer its trace, whether body or header has it; neither is quoted."""
    with World(amqp_url, postgresql_url, tmp_path) as world, app.build(world.settings):
        platform = world.platform
        assert platform is not None
        push = _traced(world.push("p1", {1: 5}), recorded)
        other = push.model_copy(update={"id": uuid.uuid4(), "requested_by": "bo@msp.example"})
        world.publish(push)
        wait_for(lambda: world.state_of(push) is not None, "the push")
        world.publish(other)
        (letter,) = Letters(world).wait()
        assert letter.reason == "conflict"
        row = outbox.row_of(_traced(world.push("p1", {1: 6}), recorded))
        content = json.loads(row.body)
        context = content.pop("traceparent")
        broken = replace(row, body=json.dumps(content | {"mode": "bo@msp.example"}).encode())
        assert world.broker.publish([broken]) == [None]
        refused = wait_for(lambda: _completed(platform.received, content["push_id"]), "the refusal")
    assert refused is not None
    assert refused.traceparent == context
    assert recorded.errors(push.traceparent or "", SpanKind.CONSUMER) == [None, "conflict"]
    assert recorded.errors(context, SpanKind.CONSUMER) == ["contract"]
    assert {span.status.description for span in recorded.all()} == {None}
    assert "bo@msp.example" not in "".join(span.to_json() for span in recorded.all())


def test_a_provider_that_fails_spoils_no_work(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """The push is written once and answered, whatever a span processor raises; the log says that a span is lost."""

    class Broken(SpanProcessor):
        def on_start(self, *_: object, **__: object) -> None:
            raise RuntimeError("no spans today")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    tracing.use(provider)
    try:
        with (
            capture_logs() as lines,
            World(amqp_url, postgresql_url, tmp_path) as world,
            app.build(world.settings),
        ):
            platform = world.platform
            assert platform is not None
            connection, mapped = world.connected("p1"), world.mapped("p1", 1)
            push = world.push("p1", {1: 5}, connection=connection, mappings=[mapped])
            world.publish(connection, mapped, push)
            wait_for(lambda: _completed(platform.received, push.push_id), "the completion")
            assert _results(platform.received, push) == ["updated"]
            assert len(world.writes()) == 1
    finally:
        tracing.use(None)
    assert {line["error_type"] for line in lines if line["event"] == "span.lost"} == {"RuntimeError"}
    assert not [line for line in lines if line["event"].endswith(".trouble")]


SAMPLED, NOT_SAMPLED = (
    Link(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(flags)))
    for flags in (TraceFlags.SAMPLED, TraceFlags.DEFAULT)
)


@pytest.mark.parametrize(
    ("sampler", "links", "is_sampled"),
    [
        (ParentBased(ALWAYS_OFF), [NOT_SAMPLED, SAMPLED], True),
        (ParentBased(ALWAYS_ON), [NOT_SAMPLED], False),
        (ParentBased(ALWAYS_ON), [], True),
        (ALWAYS_OFF, [SAMPLED], False),
        (ALWAYS_ON, [NOT_SAMPLED], True),
    ],
)
def test_a_run_is_sampled_as_the_child_of_a_push_would_be(
    sampler: Sampler, links: list[Link], *, is_sampled: bool
) -> None:
    """Whoever samples a tenth of the platform's traces sees the runs of just these; other samplers are obeyed."""
    decision = FollowLinks(sampler).should_sample(None, 3, "run", links=links).decision
    assert (decision is Decision.RECORD_AND_SAMPLE) == is_sampled


def test_a_run_that_goes_on_with_a_sampled_push_is_sampled_from_then_on() -> None:
    """A run that began with nothing, or with pushes that are not sampled, is there for one that is."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(FollowLinks(ParentBased(ALWAYS_OFF)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = RecordedSpans(provider, "rabbitmq")

    def run() -> None:
        with spans.run():
            spans.serve("p1", [None])
            spans.serve("p1", [f"00-{'1' * 32}-{'2' * 16}-00"])
            spans.request("GET", "https://[::1]/login/companyinfo/secret?name=Acme", 200, "", 0.1)
            spans.serve("p1", [f"00-{'3' * 32}-{'4' * 16}-01"])
            spans.request("PATCH", "https://[::1]/a/b?name=Acme", None, "Unreachable", 0.1)

    copy_context().run(run)
    request, served = exporter.get_finished_spans()
    assert [format_trace_id(link.context.trace_id) for link in served.links] == ["3" * 32]
    assert (request.attributes or {})["url.full"] == "https://[::1]:443/a/b"


def _completed(received: Sequence[Message], push_id: str) -> PushCompleted | None:
    return next((one for one in received if isinstance(one, PushCompleted) and one.push_id == push_id), None)


def _traced(push: PushRequested, recorded: Recorded) -> PushRequested:
    return push.model_copy(update={"traceparent": recorded.traceparent()})


def _results(received: Sequence[Message], asked: PushRequested | RevertRequested) -> list[str]:
    """The statuses of the results of a push or revert, as they came."""
    push_id = asked.push_id if isinstance(asked, PushRequested) else asked.revert_id
    return [item.status for item in received if isinstance(item, SyncResult) and item.push_id == push_id]


def _linked(context: SpanContext) -> str:
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"
