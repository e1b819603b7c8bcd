"""Structured logs: one JSON object a line, with the event's name and fields; never a secret."""

import logging
import sys
from typing import Any

import structlog

from worker import tracing

SECRET_WORDS = ("password", "private_key", "secret", "authorization", "seal_keys", "box")


def configure(level: str, format_name: str) -> None:
    """Log to standard error, for machines (`json`) or people (`console`). Libraries log there too, from warning up."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format_name == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_span,
            _hide_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")


def name_span(_logger: object, _name: str, event: Any) -> Any:  # noqa: ANN401 - structlog's types
    """Add the ids of the current span, if traces are recorded."""
    event.update(tracing.spans().ids())
    return event


def _hide_secrets(_logger: object, _name: str, event: Any) -> Any:  # noqa: ANN401 - structlog's types
    for key in event:
        if any(word in key for word in SECRET_WORDS):
            event[key] = "***"
    return event
