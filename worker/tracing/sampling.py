"""A sampler for runs, which links to what they serve; needs OpenTelemetry's SDK only."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes


class FollowLinks(Sampler):
    """Has another sampler decide about a span with links as if it were the child of one, if there is a sampled one."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

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
            followed = next((link for link in links if link.context.trace_flags.sampled), links[0])
            parent_context = set_span_in_context(NonRecordingSpan(followed.context), Context())
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Name this sampler, as the SDK shows it."""
        return f"FollowLinks({self._sampler.get_description()})"
