"""A tracer provider that exports by OTLP over HTTP, set by OpenTelemetry's own variables (`OTEL_…`)."""

from importlib.metadata import version
from threading import Thread
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from worker.tracing.recording import NAME
from worker.tracing.sampling import FollowLinks

# A worker that ends does not wait longer for a collector.
LAST_SECONDS = 2.0


def exporting_provider() -> TracerProvider:
    """Make a provider whose spans leave in batches. Raises ValueError if OpenTelemetry cannot use its variables."""
    # Only a provider reads OTEL_TRACES_SAMPLER.
    sampler = TracerProvider(shutdown_on_exit=False).sampler
    own = Resource.create({"service.name": NAME, "service.version": version(NAME), "service.instance.id": str(uuid4())})
    provider = TracerProvider(FollowLinks(sampler), own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def shut_down(provider: TracerProvider) -> None:
    """Send the last spans, if a collector takes them within two seconds; a daemon thread is left behind if not."""
    thread = Thread(target=provider.shutdown, name="last spans", daemon=True)
    thread.start()
    thread.join(LAST_SECONDS)
