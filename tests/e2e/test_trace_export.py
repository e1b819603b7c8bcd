"""The export of traces, as an operator switches it on: a collector gets them, and one that is away harms nothing."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from messages import generate_keypair
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker.setting_names import PREFIX


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


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("collector", ["away", "silent"])
def test_a_collector_that_takes_nothing_keeps_nobody_from_work_or_from_ending(
    sqlite_url: str, tmp_path: Path, silent: str, collector: str
) -> None:
    """The push is done, and the worker ends well without waiting for the exporter's own ten seconds."""
    with World("local:", sqlite_url, tmp_path) as world:
        _work(world, "otlp", silent if collector == "silent" else "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_SPAN_LINK_COUNT_LIMIT", "abc")]
)
def test_a_variable_of_opentelemetry_that_cannot_be_used_is_an_error_at_the_start(
    tmp_path: Path, variable: str, value: str
) -> None:
    """Exit code 5 says that it is one of these."""
    ended = _start_in_vain(tmp_path, {variable: value})
    assert ended.returncode == 5
    assert "an OTEL_ variable cannot be used" in ended.stderr


def test_traces_without_opentelemetry_are_an_error_at_the_start(tmp_path: Path) -> None:
    """Exit code 5 says what to install."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')")
    ended = _start_in_vain(tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 5
    assert "PHIN_CONNECTWISE_TRACES: otlp needs OpenTelemetry" in ended.stderr
    assert "install phin-connectwise[traces]" in ended.stderr


def _start_in_vain(folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    settings = {
        "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "SEAL_KEYS": generate_keypair().private,
        "TRACES": "otlp",
    }
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", "worker"],
        env=os.environ | {f"{PREFIX}{name}": value for name, value in settings.items()} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )
