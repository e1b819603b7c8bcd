"""Malformed deliveries to every queue, good ones among them; tens of thousands: tests/benchmarks/test_malformed.py."""

from pathlib import Path

from tests.support import malformed
from tests.support.malformed import Flood
from tests.support.world import World


def test_malformed_deliveries_are_kept_and_stop_nothing(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """Each is in the table byte for byte, every good push among them is served, and the worker lives."""
    with World(amqp_url, postgresql_url, tmp_path, companies=2) as world:
        world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
        worker, flood = world.start_worker(), Flood(world, amqp_url)
        flood.send(malformed.make(malformed.samples(world), 300), push_every=100)
        flood.check_bytes()
        assert worker.poll() is None
        assert [world.quantity("p1", 100_001), world.quantity("p1", 100_002)] == [4, 5]
