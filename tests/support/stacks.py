"""Which stacks a test of the fixture `stack` runs on: RabbitMQ with PostgreSQL, embedded, or both."""

import pytest

from tests.support.hooked_worker import POINTS_WHEN_EMBEDDED

on_servers = pytest.mark.parametrize("stack", ["rabbitmq"], indirect=True)
"""On RabbitMQ with PostgreSQL only: what happens has nothing to do with the broker, and SQL is tested on both."""


def at_points(*points: str) -> pytest.MarkDecorator:
    """At these points of `hooked_worker` on RabbitMQ with PostgreSQL, and embedded where that differs."""
    embedded = [("embedded", point) for point in points if point in POINTS_WHEN_EMBEDDED]
    return pytest.mark.parametrize(
        ("stack", "point"), [("rabbitmq", point) for point in points] + embedded, indirect=["stack"]
    )
