"""Traces, as an operator reads them: one from the platform's publish to each of its results, whatever came between."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pika
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
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
    generate_keypair,
)
from tests.support.letters import Letters
from tests.support.reverting import revert_of
from tests.support.waiting import wait_for, within
from tests.support.world import PRIVATE_KEY, World
from worker import app, logs, tracing
from worker.messaging import fair_share
from worker.setting_names import PREFIX
from worker.tracing.export import FollowLinks

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


@pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "not-sampled"])
def test_a_run_is_sampled_with_the_pushes_it_serves(*, sampled: bool) -> None:
    """Whoever samples a tenth of the platform's traces sees the runs of just these."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    link = Link(SpanContext(1, 2, is_remote=True, trace_flags=flags))
    for others in (ALWAYS_ON, ALWAYS_OFF):
        sampler = FollowLinks(others)
        assert sampler.should_sample(None, 3, "run", links=[link]).decision.is_sampled() is sampled  # type: ignore[no-untyped-call]
        alone = others.should_sample(None, 3, "run").decision
        assert sampler.should_sample(None, 3, "run").decision is alone


@pytest.fixture
def collected() -> Iterator[tuple[str, list[Span]]]:
    """(URL of a collector, the spans that it has taken)."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(
                span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def _work(world: World, traces: str, endpoint: str) -> Path:
    """A worker process exports traces to the endpoint while one company is pushed; it ends well. Returns its log."""
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    log = world.folder / "traced.log"
    with log.open("wb") as stderr:
        environment = world.environment | given | {f"{PREFIX}TRACES": traces}
        worker = subprocess.Popen([sys.executable, "-m", "worker.cli", "worker"], env=environment, stderr=stderr)
        try:
            connection, mapped = world.connected("p1"), world.mapped("p1", 1)
            world.publish(connection, mapped, world.push("p1", {1: 5}, connection=connection, mappings=[mapped]))
            wait_for(lambda: world.quantity("p1", 100_001) == 5, "the push")
            worker.terminate()
            assert worker.wait(within(30)) == 0
        finally:
            worker.kill()
            worker.wait()
    return log


def test_a_worker_exports_its_spans_until_its_end(
    amqp_url: str, postgresql_url: str, tmp_path: Path, collected: tuple[str, list[Span]]
) -> None:
    """`PHIN_CONNECTWISE_TRACES=otlp` and OpenTelemetry's variables are all that is to be set; log lines name spans."""
    endpoint, spans = collected
    with World(amqp_url, postgresql_url, tmp_path) as world:
        log = _work(world, "otlp", endpoint)
    names = {span.name for span in spans}
    assert {"run", "GET", "PATCH", "process connectwise.push-requested.v1", "publish connectwise.sync"} <= names
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    accepted = next(line for line in lines if line["event"] == "push.accepted")
    assert accepted["span_id"] in {span.span_id.hex() for span in spans}


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://127.0.0.1:1/nonsense path"])
def test_a_collector_that_is_away_keeps_nobody_from_work_or_from_ending(
    sqlite_url: str, tmp_path: Path, endpoint: str
) -> None:
    """The push is done, and the worker ends with exit code 0; its spans are lost."""
    with World("local:", sqlite_url, tmp_path) as world:
        _work(world, "otlp", endpoint)


def test_traces_without_opentelemetry_are_an_error_at_the_start(tmp_path: Path) -> None:
    """Exit code 5 says what to install."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')")
    settings = {"CLIENT_ID": "00000000-0000-0000-0000-000000000001", "SEAL_KEYS": generate_keypair().private}
    environment = {f"{PREFIX}{name}": value for name, value in settings.items()} | {f"{PREFIX}TRACES": "otlp"}
    ended = subprocess.run(
        [sys.executable, "-m", "worker.cli", "worker"],
        env=os.environ | environment | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )
    assert ended.returncode == 5
    assert "PHIN_CONNECTWISE_TRACES: otlp needs OpenTelemetry" in ended.stderr
    assert "install phin-connectwise[traces]" in ended.stderr


def _traced(push: PushRequested, recorded: Recorded) -> PushRequested:
    return push.model_copy(update={"traceparent": recorded.traceparent()})


def _results(received: Sequence[Message], asked: PushRequested | RevertRequested) -> list[str]:
    """The statuses of the results of a push or revert, as they came."""
    push_id = asked.push_id if isinstance(asked, PushRequested) else asked.revert_id
    return [item.status for item in received if isinstance(item, SyncResult) and item.push_id == push_id]


def _linked(context: SpanContext) -> str:
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"
