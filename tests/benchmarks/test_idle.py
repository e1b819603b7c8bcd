"""The cost of a worker that has nothing to do: `make bench`."""

import threading
from pathlib import Path
from time import monotonic

import psutil
import pytest

from tests.benchmarks.as_it_is import set_up, show, worker
from tests.support.world import World

pytestmark = pytest.mark.benchmark

SETTLE_SECONDS, SECONDS = 8.0, 20.0
CPU_LIMIT, MEMORY_LIMIT = 0.02, 110 * 1024 * 1024


@pytest.mark.parametrize("installation", ["servers", "embedded"])
def test_an_idle_worker_takes_next_to_nothing(
    installation: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that waits for work leaves its machine to others: under 2 % of a core and 110 MB."""
    urls = "local:", f"sqlite:///{tmp_path}/worker.sqlite"
    if installation == "servers":
        urls = request.getfixturevalue("amqp_url"), request.getfixturevalue("postgresql_url")
    with World(*urls, tmp_path) as world, worker(world) as process:
        set_up(world, "p1", companies=5)
        pause, idle = threading.Event(), psutil.Process(process.pid)
        pause.wait(SETTLE_SECONDS)
        before, started = sum(idle.cpu_times()[:2]), monotonic()
        pause.wait(SECONDS)
        share = (sum(idle.cpu_times()[:2]) - before) / (monotonic() - started)
        memory = idle.memory_info().rss
    show(capsys, f"idle, {installation}: {share:.2%} of a core, {memory / 1024**2:.0f} MB")
    assert share < CPU_LIMIT
    assert memory < MEMORY_LIMIT
