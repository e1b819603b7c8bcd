"""Fixtures of the tests that run whole workers."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app, policy, progress, tools


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An embedded installation; waiting times are short, their order is kept."""
    monkeypatch.setattr(policy, "RETRY_FIRST", 0.2)
    monkeypatch.setattr(policy, "CLIENT_ID_PAUSE", timedelta(seconds=1))
    monkeypatch.setattr(progress, "READ_AGAIN_AFTER", timedelta(seconds=0.3))
    monkeypatch.setattr(tools, "START_WITHIN", 1.0)
    monkeypatch.setattr(tools, "LEASE_LEFT_FOR_PATCH", 0.2)
    with World("local:", sqlite_url, tmp_path, companies=3, call_timeout=1.0) as world:
        yield world


@pytest.fixture
def case(world: World) -> Iterator[Case]:
    """The worker runs, the connection and the mappings of companies 1 and 2 are saved and checked."""
    case = Case(world)
    with app.build(world.settings) as worker:
        world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
        wait_for(case.is_checked, "the checks")
        # Each test's first push is a run of its own, which asks one thing at a time until ConnectWise has answered.
        wait_for(lambda: not case.is_running(), "the end of the checks' run")
        yield case
        assert worker.readiness.troubles == {}


@pytest.fixture
def busy(amqp_url: str, postgresql_url: str, tmp_path: Path) -> Iterator[Case]:
    """A case on RabbitMQ and PostgreSQL, where the platform sees all that leaves."""
    with World(amqp_url, postgresql_url, tmp_path, companies=3, call_timeout=1.0) as world:
        case = Case(world)
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            yield case
