"""The worker with traces: a tenth of the pushes is sampled, and a collector takes the spans."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from messages import PushRequested
from tests.benchmarks.our_worker import OurWorker, our_worker
from tests.benchmarks.scenario import Line, Scenario
from tests.benchmarks.stub import StubConnectWise
from worker.setting_names import PREFIX

SAMPLED = 10  # one push of so many


class TracedWorker(OurWorker):
    """Each push has a trace context, as those of a platform with tracing do."""

    name = "traced"
    _number = count()

    def pushes(self, lines: Sequence[Line]) -> list[PushRequested]:
        """Make one push of each partner."""
        return [push.model_copy(update={"traceparent": self._traceparent()}) for push in super().pushes(lines)]

    def export_to(self, endpoint: str) -> None:
        """Export to this collector from the next start on."""
        self._environment |= {f"{PREFIX}TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}

    def _traceparent(self) -> str:
        return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-{'00' if next(self._number) % SAMPLED else '01'}"


@contextmanager
def traced_worker(
    broker_url: str, database_url: str, folder: Path, scenario: Scenario, stub: StubConnectWise
) -> Iterator[TracedWorker]:
    """An installation like `our_worker`, with a collector in this process."""
    with _collector() as endpoint, our_worker(broker_url, database_url, folder, scenario, stub, TracedWorker) as made:
        assert isinstance(made, TracedWorker)
        made.export_to(endpoint)
        yield made


@contextmanager
def _collector() -> Iterator[str]:
    """Take spans and forget them. Yields the URL."""

    class Collector(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
