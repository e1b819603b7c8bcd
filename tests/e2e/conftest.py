"""Fixtures of the tests that run whole workers."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from cwclient.simulator import SimulatorServer, State
from messages import generate_keypair
from tests.support.case import Case
from tests.support.installation import KEY, Installation
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker import app
from worker.cli import sample
from worker.rules import retry
from worker.sync import guard, transitions


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An embedded installation; waiting times are short, their order is kept."""
    monkeypatch.setattr(retry, "RETRY_FIRST", 0.2)
    monkeypatch.setattr(retry, "OUR_FAULT_PAUSE", timedelta(seconds=1))
    monkeypatch.setattr(transitions, "READ_AGAIN_AFTER", timedelta(seconds=0.3))
    monkeypatch.setattr(guard, "START_WITHIN", 1.0)
    monkeypatch.setattr(guard, "LEASE_LEFT_FOR_PATCH", 0.2)
    with World("local:", sqlite_url, tmp_path, companies=3, call_timeout=within(3.0)) as world:
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
    with World(amqp_url, postgresql_url, tmp_path, companies=3, call_timeout=within(3.0)) as world:
        case = Case(world)
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            yield case


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One simulator for all tests, and tables with no partner yet."""
    settings = {
        "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "SEAL_KEYS": generate_keypair().private,
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "DATABASE_URL": "sqlite:///store.db",
    }
    with SimulatorServer(State.from_file(sample.SIMULATOR_STATE)) as simulator:
        made = Installation(tmp_path_factory.mktemp("started"), settings, simulator)
        assert made.run("db", "upgrade").returncode == 0
        yield made


@pytest.fixture(scope="module")
def prepared(started: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Partner msp-1 is connected, and its companies are mapped as in the sample."""
    made = started.copied(tmp_path_factory.mktemp("prepared"))
    assert made.connect(f"{KEY}\n").returncode == 0
    assert made.run("mapping", "import", "--partner", "msp-1", sample.MAPPINGS).returncode == 1
    return made


@pytest.fixture
def installation(started: Installation, tmp_path: Path) -> Installation:
    """An installation of the test's own, with no partner yet."""
    return started.copied(tmp_path)


@pytest.fixture
def mapped(prepared: Installation, tmp_path: Path) -> Installation:
    """An installation of the test's own, with partner msp-1 as prepared and ConnectWise as in the sample."""
    return prepared.copied(tmp_path)
