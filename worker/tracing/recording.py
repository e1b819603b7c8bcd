"""Spans by OpenTelemetry, with the attributes of its messaging and HTTP conventions.

No attribute holds a key, a name of a person or of a customer, or a text of an error, which may quote one. Whatever a
provider's sampler or processor raises is logged, and spoils nothing but the span.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from time import time_ns
from urllib.parse import urlsplit

import structlog
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.tracing import Published, Spans

NAME = "phin-connectwise"
COMPANY_INFO = "/login/companyinfo/"
"""Before the login name of a company (connectwise-api.md 1.2)."""

Attributes = dict[str, str | int]

_traceparent = TraceContextTextMapPropagator()

log = structlog.get_logger()


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
        self, queue: str, contexts: Sequence[str | None], message_id: str | None = None
    ) -> Iterator[Callable[[str], None]]:
        """Record a consumer's span."""
        attributes: Attributes = {"messaging.destination.name": queue, "messaging.operation.name": "process"}
        attributes |= self._system | {"messaging.operation.type": "process"}
        attributes |= {"messaging.message.id": message_id} if message_id else {}
        parent, links = _extract(contexts[0]), list[Link]()
        if len(contexts) > 1:
            attributes["messaging.batch.message_count"] = len(contexts)
            parent, links = otel.Context(), _links({context for context in contexts if context})
        span = self._begin(f"process {queue}", parent, SpanKind.CONSUMER, attributes, links)
        token = otel.attach(trace.set_span_in_context(span))
        try:
            yield lambda error: _fail(span, error)
        except BaseException as failure:
            _fail(span, type(failure).__name__)
            raise
        finally:
            otel.detach(token)
            _end(span)

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
                _end(run.span)

    def serve(self, partner_id: str, contexts: Iterable[str | None]) -> None:
        """Begin the run's span, or add links to it; one that was not sampled begins anew for a push that is."""
        run = _run.get()
        if run is None:
            return
        new = {context for context in contexts if context} - run.linked
        run.linked |= new
        links = _links(new)
        is_sampled = any(link.context.trace_flags.sampled for link in links)
        if run.span is None or (is_sampled and not run.span.is_recording()):
            # With the links that are known when it begins a sampler can follow the pushes.
            attributes: Attributes = {"phin_connectwise.partner.id": partner_id}
            run.span = self._begin("run", otel.Context(), SpanKind.INTERNAL, attributes, links)
            # Never detached: a run has a logging context of its own, which ends with it.
            otel.attach(trace.set_span_in_context(run.span))
        else:
            for link in links:
                run.span.add_link(link.context)

    def request(self, method: str, url: str, status: int | None, error: str, seconds: float) -> None:
        """Record a client's span, a child of the current one."""
        ended = time_ns()
        span = self._begin(method, None, SpanKind.CLIENT, {}, start_time=ended - int(seconds * 1e9))
        if span.is_recording():
            span.set_attributes({"http.request.method": method, **_server(url)})
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if error or (status is not None and status >= 400):
                _fail(span, error or str(status))
        _end(span, ended)

    def publish(self, exchange: str, messages: Iterable[Published], seconds: float) -> None:
        """Record a producer's span for each message."""
        ended = time_ns()
        began = ended - int(seconds * 1e9)
        for message in messages:
            span = self._begin(
                f"publish {exchange}", _extract(message.context), SpanKind.PRODUCER, {}, start_time=began
            )
            if span.is_recording():
                attributes = {
                    "messaging.destination.name": exchange,
                    "messaging.rabbitmq.destination.routing_key": message.routing_key,
                    "messaging.message.id": message.message_id,
                    "messaging.operation.name": "publish",
                    "messaging.operation.type": "send",
                }
                span.set_attributes(self._system | attributes)
                if message.error:
                    _fail(span, message.error)
            _end(span, ended)

    def ids(self) -> Mapping[str, str]:
        """Return the ids of the current span."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def _begin(
        self,
        name: str,
        parent: otel.Context | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> Span:
        try:
            return self._tracer.start_span(name, parent, kind, attributes, links, start_time)
        except Exception as error:  # noqa: BLE001 - the work goes on without the span
            log.warning("span.lost", span=name, error_type=type(error).__name__)
            return INVALID_SPAN


def _end(span: Span, at: int | None = None) -> None:
    try:
        span.end(at)
    except Exception as error:  # noqa: BLE001 - the work goes on without the span
        log.warning("span.lost", error_type=type(error).__name__)


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


@lru_cache(maxsize=1024)
def _extract(traceparent: str | None) -> otel.Context:
    return _traceparent.extract({"traceparent": traceparent or ""}, otel.Context())


def _links(traceparents: Iterable[str]) -> list[Link]:
    contexts = [trace.get_current_span(_extract(traceparent)).get_span_context() for traceparent in traceparents]
    return [Link(context) for context in contexts if context.is_valid]


def _server(url: str) -> Attributes:
    """Return the attributes of a URL, without its query, which may hold a customer's name; none if it is no URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    if not host:
        return {}
    path, found, _ = parts.path.partition(COMPANY_INFO)
    shown = f"[{host}]" if ":" in host else host
    return {
        "server.address": host,
        "server.port": port,
        "url.full": f"{parts.scheme}://{shown}:{port}{path}{f'{found}…' if found else ''}",
    }
