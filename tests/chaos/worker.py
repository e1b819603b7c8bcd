"""The command `phin-connectwise worker` with other waiting times, so that a run of minutes has room for many waits.

The order of things is never changed, and a time that outlasts another still does. Only the minute that a line waits for
its mapping is longer: here servers and workers are away for most of a minute.

`python -m tests.chaos.worker SPANS METRICS`: the files that get its spans, a line each, and its metrics, every second.
"""

import sys
import threading
from datetime import timedelta
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from prometheus_client import generate_latest

from tests.support.hooked_worker import shorten
from worker import metrics, tracing
from worker.cli import main
from worker.messaging import relay
from worker.messaging.rabbitmq import publishing
from worker.rules import quantities, retry
from worker.sync import run

METRICS_SECONDS = 1.0


def _record(spans: Path, metrics_file: Path) -> None:
    """Have spans and metrics written down, for the search in what a run leaves behind."""
    provider, file = TracerProvider(), spans.open("a", encoding="utf-8")
    exporter = ConsoleSpanExporter(out=file, formatter=_line)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    threading.Thread(target=_write_metrics, args=(metrics_file,), daemon=True).start()


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


def _write_metrics(file: Path) -> None:
    while True:
        file.write_bytes(generate_latest(metrics.REGISTRY))
        threading.Event().wait(METRICS_SECONDS)


if __name__ == "__main__":
    _record(Path(sys.argv[1]), Path(sys.argv[2]))
    shorten()
    retry.RETRY_FIRST, retry.RETRY_MAX = 0.3, 5.0
    retry.OUR_FAULT_PAUSE = timedelta(seconds=3)
    retry.RATE_LIMIT_PAUSE = timedelta(seconds=2)
    publishing.CONFIRM_TIMEOUT, relay.CLAIM_SECONDS = 5.0, 20.0
    quantities.VERSION_WAIT = timedelta(minutes=4)
    run.OPEN_WRITES_EVERY = timedelta(seconds=5)
    sys.argv[1:] = ["worker"]
    main()
