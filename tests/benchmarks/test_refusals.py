"""Tens of thousands of malformed deliveries among good ones: all kept, memory flat. `make bench` prints the figures."""

import threading
from pathlib import Path
from time import monotonic

import psutil
import pytest

from tests.support import malformed
from tests.support.malformed import Flood
from tests.support.world import World

pytestmark = pytest.mark.benchmark

COUNT, SETTLED = 20_000, 2_000
GROWTH_LIMIT = 20 * 1024 * 1024


def test_malformed_deliveries(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20,000 are in the table byte for byte, every good push is served, the worker lives and grows by under 20 MB."""
    with World(amqp_url, postgresql_url, tmp_path, companies=2) as world:
        messages = malformed.make(malformed.samples(world), COUNT)
        world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
        worker = world.start_worker_alone()
        flood, process = Flood(world, amqp_url), psutil.Process(worker.pid)
        flood.send(messages[:SETTLED], push_every=500)
        before, started = _at_rest(process), monotonic()
        flood.send(messages[SETTLED:], push_every=500)
        seconds, after = monotonic() - started, _at_rest(process)
        flood.check_bytes()
        assert worker.poll() is None
        assert world.quantity("p1", 100_001) == flood.pushes[-1].lines[0].billable_users
    with capsys.disabled():
        print(  # noqa: T201
            f"\nmalformed: {COUNT:,} kept, {len(flood.pushes)} good pushes served;"
            f" {(COUNT - SETTLED) / seconds:.0f} a second; memory {before / 2**20:.0f} MB after {SETTLED:,},"
            f" {after / 2**20:.0f} MB after {COUNT:,} (limit +20)"
        )
    assert after - before <= GROWTH_LIMIT


def _at_rest(process: psutil.Process) -> int:
    """Bytes that a worker which has nothing to do holds: the least in 10 s, in which it gives back what is free."""
    pause, seen = threading.Event(), []
    for _ in range(20):
        pause.wait(0.5)
        seen.append(process.memory_info().rss)
    return int(min(seen))
