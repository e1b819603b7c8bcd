"""Spans by OpenTelemetry, with the attributes of its messaging and HTTP conventions.

No attribute holds a key, a name of a person or of a customer, or a text of an error, which may quote one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import time_ns
from urllib.parse import urlsplit

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.tracing import Published, Spans

NAME = "phin-connectwise"

_traceparent = TraceContextTextMapPropagator()


@dataclass
class _Run:
    """The span of a run, once it has begun, and the traceparents that it links to."""

    span: Span | None = None
    linked: set[str] = field(default_factory=set)


_run: ContextVar[_Run | None] = ContextVar("run", default=None)


class RecordedSpans(Spans):
    """Spans of this provider; `system` is OpenTelemetry's name of the broker."""

    def __init__(self, provider: TracerProvider, system: str) -> None:
        self._tracer = provider.get_tracer(NAME)
        self._system = {"messaging.system": system}

    @contextmanager
    def process(
        self, queue: str, message_id: str | None, contexts: Sequence[str | None], error: str = ""
    ) -> Iterator[None]:
        """Record a consumer's span."""
        attributes: dict[str, str | int] = {"messaging.destination.name": queue, "messaging.operation.name": "process"}
        attributes |= self._system | {"messaging.operation.type": "process"}
        parent, links = otel.Context(), list[Link]()
        if len(contexts) == 1:
            parent = _extract(contexts[0])
            attributes |= {"messaging.message.id": message_id} if message_id else {}
        else:
            links = _links({context for context in contexts if context})
            attributes |= {"messaging.batch.message_count": len(contexts)}
        with self._tracer.start_as_current_span(
            f"process {queue}", parent, SpanKind.CONSUMER, attributes, links, record_exception=False
        ) as span:
            if error:
                _fail(span, error)
            try:
                yield
            except BaseException as failure:
                _fail(span, type(failure).__name__)
                raise

    @contextmanager
    def run(self) -> Iterator[None]:
        """Record a span of its own trace; it ends however the run does."""
        run = _Run()
        _run.set(run)
        try:
            yield
        except BaseException as failure:
            if run.span is not None and not isinstance(failure, GeneratorExit):
                _fail(run.span, type(failure).__name__)
            raise
        finally:
            if run.span is not None:
                run.span.end()

    def serve(self, partner_id: str, contexts: Iterable[str | None]) -> None:
        """Begin the run's span, or add links to it."""
        run = _run.get()
        if run is None:
            return
        new = {context for context in contexts if context} - run.linked
        run.linked |= new
        links = _links(new)
        if run.span is None:
            # With the links that are known when it begins a sampler can follow the pushes.
            run.span = self._tracer.start_span(
                "run",
                otel.Context(),
                attributes={"phin_connectwise.partner.id": partner_id},
                links=links,
            )
            # Never detached: a run has a logging context of its own, which ends with it.
            otel.attach(trace.set_span_in_context(run.span))
        else:
            for link in links:
                run.span.add_link(link.context)

    def request(self, method: str, url: str, status: int | None, error: str, seconds: float) -> None:
        """Record a client's span, a child of the current one."""
        ended = time_ns()
        attributes = {"http.request.method": method, **_server(url)}
        attributes |= {"http.response.status_code": status} if status is not None else {}
        span = self._tracer.start_span(method, None, SpanKind.CLIENT, attributes, start_time=ended - int(seconds * 1e9))
        if error or (status is not None and status >= 400):
            _fail(span, error or str(status))
        span.end(ended)

    def publish(self, exchange: str, messages: Iterable[Published], seconds: float) -> None:
        """Record a producer's span for each message."""
        ended = time_ns()
        for message in messages:
            attributes = self._system | {
                "messaging.destination.name": exchange,
                "messaging.rabbitmq.destination.routing_key": message.routing_key,
                "messaging.message.id": message.message_id,
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
            }
            span = self._tracer.start_span(
                f"publish {exchange}",
                _extract(message.context),
                SpanKind.PRODUCER,
                attributes,
                start_time=ended - int(seconds * 1e9),
            )
            if message.error:
                _fail(span, message.error)
            span.end(ended)

    def ids(self) -> Mapping[str, str]:
        """Return the ids of the current span."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _extract(traceparent: str | None) -> otel.Context:
    return _traceparent.extract({"traceparent": traceparent or ""}, otel.Context())


def _links(traceparents: Iterable[str]) -> list[Link]:
    contexts = [trace.get_current_span(_extract(traceparent)).get_span_context() for traceparent in traceparents]
    return [Link(context) for context in contexts if context.is_valid]


def _server(url: str) -> dict[str, str | int]:
    """Return the attributes of a URL, without its query, which may hold a customer's name; none if it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    host = parts.hostname or ""
    return {"server.address": host, "server.port": port, "url.full": f"{parts.scheme}://{host}:{port}{parts.path}"}


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))
