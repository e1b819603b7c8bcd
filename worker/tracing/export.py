"""A tracer provider that exports by OTLP over HTTP, set by OpenTelemetry's own variables (`OTEL_…`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import Timer

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from worker.tracing.recording import NAME

# A worker that ends does not wait longer for a collector that is away.
LAST_SECONDS = 2.0


class FollowLinks(Sampler):
    """Samples a span that links to others if one of these is sampled; `others` decides about the rest."""

    def __init__(self, others: Sampler) -> None:
        self._others = others

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide by the links, if there are any."""
        if links:
            is_sampled = any(link.context.trace_flags.sampled for link in links)
            return SamplingResult(Decision.RECORD_AND_SAMPLE if is_sampled else Decision.DROP, attributes)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Name this sampler, as the SDK shows it."""
        return f"FollowLinks({self._others.get_description()})"


@contextmanager
def exporting_provider() -> Iterator[TracerProvider]:
    """Make a provider whose spans leave in batches; at the end the last ones do, if a collector takes them soon."""
    # Only a provider reads OTEL_TRACES_SAMPLER.
    sampler = TracerProvider(shutdown_on_exit=False).sampler
    own = Resource({"service.name": NAME, "service.version": version(NAME)})
    provider = TracerProvider(FollowLinks(sampler), own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider
    finally:
        giving_up = Timer(LAST_SECONDS, exporter.shutdown)
        giving_up.start()
        provider.shutdown()
        giving_up.cancel()
