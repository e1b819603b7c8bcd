"""Traces: spans of deliveries, runs, requests and publishes, if `use` was given a tracer provider; else nothing.

A message carries the platform's trace context: its deliveries, and the publishing of its results, are spans of that
trace. A run serves several pushes at once, so it is a trace of its own, which links to theirs; requests to ConnectWise
are spans of the run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class Published(NamedTuple):
    """A message that was published, or not: `error` names the fault. `context` is its traceparent."""

    message_id: str
    routing_key: str
    context: str | None
    error: str


def ignore(_error: str) -> None:
    """Record no error."""


class Spans:
    """Records nothing."""

    def process(
        self, queue: str, contexts: Sequence[str | None], message_id: str | None = None
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Record the handling of a message, or of a batch; its span is the current one meanwhile.

        `contexts`: the traceparent of each message. One is the parent of the span, several are linked to it. Yields a
        function to be told the reason of a rejection; an exception that passes is taken by its type.
        """
        del queue, contexts, message_id
        return nullcontext(ignore)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Record a run. Its span begins with the first `serve`, and is the current one from then on."""
        yield

    def serve(self, partner_id: str, contexts: Iterable[str | None]) -> None:
        """Link the run to the traceparents of the pushes and questions that it serves."""

    def request(self, method: str, url: str, status: int | None, error: str, seconds: float) -> None:
        """Record a request to ConnectWise that has just ended; `error` is the name of its failure, or empty."""

    def publish(self, exchange: str, messages: Iterable[Published], seconds: float) -> None:
        """Record messages that were just published together, each in its own trace."""

    def ids(self) -> Mapping[str, str]:
        """Return `trace_id` and `span_id` of the current span, for log lines; nothing if there is none."""
        return {}


_spans = Spans()


def spans() -> Spans:
    """Return the spans that are recorded now."""
    return _spans


def use(provider: "TracerProvider | None", *, messaging_system: str = "rabbitmq") -> None:
    """Record spans by this provider from now on, in the whole process; None = nothing.

    Raises ImportError if OpenTelemetry is not installed.
    """
    global _spans  # noqa: PLW0603 - like metrics and logs, traces belong to the process
    if provider is None:
        _spans = Spans()
        return
    from worker.tracing.recording import RecordedSpans

    _spans = RecordedSpans(provider, messaging_system)
