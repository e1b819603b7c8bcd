"""How soon a worker tells its status while it is at full load: `make bench`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import pytest

from tests.benchmarks import prober
from tests.benchmarks.as_it_is import show
from tests.benchmarks.our_worker import our_worker
from tests.benchmarks.scenario import Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import stub_connectwise
from tests.support.own_servers.places import free_port
from tests.support.waiting import wait_for, within
from worker.setting_names import PREFIX

pytestmark = pytest.mark.benchmark

LOAD = Scenario(partners=100, lines=30)
ANSWERS_WITHIN = 0.05
PATHS = ("/livez", "/readyz", "/metrics")


@contextmanager
def probed(port: int, path: str) -> Iterator[list[float]]:
    """The seconds of each answer, sorted, once the block has ended."""
    times: list[float] = []
    command = [sys.executable, "-I", "-S", prober.__file__, str(port), path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        yield times
        times += sorted(json.loads(asking.communicate()[0]))


def test_status_is_told_within_50_ms_at_full_load(
    amqp_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kubernetes restarts no worker for being busy: 99 of 100 probes are answered within 50 ms."""
    port = free_port()
    with (
        stub_connectwise(LOAD.latency) as stub,
        durable_database() as url,
        our_worker(amqp_url, url, tmp_path, LOAD, stub) as ours,
    ):
        ours._environment[f"{PREFIX}STATUS_ADDRESS"] = f"127.0.0.1:{port}"
        ours.start()
        wait_for(lambda: _is_ready(port), "the worker")
        for turn, path in enumerate(PATHS, start=1):
            ours.rest()
            began = perf_counter()
            with probed(port, path) as times:
                ours.send(list(LOAD.work(turn)))
                ended = ours.results.wait(600)
            median, most = times[len(times) // 2], times[-1]
            late = times[int(len(times) * 0.99)]
            show(
                capsys,
                f"status: {path} while {LOAD.partners * LOAD.lines / (ended - began):.0f} lines a second are written:"
                f" median {median * 1000:.1f} ms, 99 % within {late * 1000:.1f} ms, most {most * 1000:.1f} ms"
                f" of {len(times)}",
            )
            if path == "/livez":
                assert late < within(ANSWERS_WITHIN)
        ours.stop()


def _is_ready(port: int) -> bool:
    try:
        prober.ask(port, "/readyz")
    except (OSError, RuntimeError):
        return False
    return True
