"""Fixtures for all tests: real servers, and on them things of each test's own."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from store import Database
from tests.support.databases import Named, Postgresql, migrate_to_newest
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ, own
from tests.support.rabbitmq import Broker, declared
from tests.support.servers import POSTGRESQL, RABBITMQ

pytest_plugins = ["tests.support.side_by_side", "tests.support.skips", "tests.support.worker_logs"]

# jsonschema takes two seconds to load this one's grammars, for a format that none of our schemas has.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment] # that is how an import is made to fail
# In the background of a shell Ctrl-C is ignored, and it would be by the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine fails nothing.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """A RabbitMQ server; tests name what they declare at random, and delete it."""
    with RABBITMQ.running() as url:
        yield url


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    """An exchange and queue of the test's own."""
    with declared(amqp_url) as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL server on which tests make databases of their own."""
    with POSTGRESQL.running() as url:
        yield Postgresql(url)


@pytest.fixture(scope="session")
def migrated(postgresql: Postgresql) -> Iterator[Named]:
    """A database with all tables, which one test after another has for itself; tests take `postgresql_url`."""
    with postgresql.named() as database:
        migrate_to_newest(database.url)
        yield database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate_to_newest(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(migrated: Named) -> Iterator[str]:
    """A PostgreSQL database of the test's own, with all tables, which the test leaves as they are."""
    yield migrated.url
    migrated.renew()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite file of the test's own, with all tables."""
    return f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'store.db')}"


@pytest.fixture(params=["postgresql", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database; `parametrize("backend", ["postgresql"])` restricts a test to one."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own, with all tables."""
    return str(request.getfixturevalue(f"{backend}_url"))


@pytest.fixture
def empty_database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, without tables."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with request.getfixturevalue("postgresql").database() as url:
            yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The store on a database of the test's own."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def empty_database(empty_database_url: str) -> Iterator[Database]:
    """The store on a database without tables."""
    with closing(Database(empty_database_url)) as database:
        yield database


@pytest.fixture(params=["rabbitmq", "embedded"])
def stack(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(broker URL, database URL): RabbitMQ with PostgreSQL, and the embedded stack."""
    if request.param == "embedded":
        return "local:", request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("amqp_url"), request.getfixturevalue("postgresql_url")


@pytest.fixture(scope="session")
def session_rabbitmq() -> Iterator[OwnRabbitMQ]:
    """Started once a session; tests take `own_rabbitmq`."""
    with own(OwnRabbitMQ) as server:
        yield server


@pytest.fixture
def own_rabbitmq(session_rabbitmq: OwnRabbitMQ) -> Iterator[OwnRabbitMQ]:
    """A RabbitMQ that the test may stop, kill and starve; it runs and has memory afterwards."""
    yield session_rabbitmq
    session_rabbitmq.start()
    if session_rabbitmq.has_alarm:
        session_rabbitmq.memory_alarm(on=False)


@pytest.fixture(scope="session")
def session_postgresql() -> Iterator[OwnPostgresql]:
    """Started once a session; tests take `own_postgresql`."""
    with own(OwnPostgresql) as server:
        yield server


@pytest.fixture
def own_postgresql(session_postgresql: OwnPostgresql) -> Iterator[OwnPostgresql]:
    """A PostgreSQL that the test may stop, kill and cut off; it runs afterwards."""
    yield session_postgresql
    session_postgresql.start()
