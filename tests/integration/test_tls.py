"""RabbitMQ and PostgreSQL over TLS: the certificate and its host name are verified, by worker and platform alike."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cwclient.simulator.certificates import ensure_certificates
from messages import Publisher, Unreachable, generate_keypair
from store import Database, mappings
from tests.support.commands import run
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ, own
from tests.support.samples import PARTNER, mapping_changed
from tests.support.waiting import wait_for
from worker import app
from worker.settings import load

# Resolves to 127.0.0.1, which the certificate bears; as a name it does not bear it.
OTHER_NAME = "127.1"


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[OwnRabbitMQ]:
    """RabbitMQ with a certificate for 127.0.0.1, of an authority that the system does not know."""
    with own(OwnRabbitMQ, tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgresql]:
    """PostgreSQL, the same."""
    with own(OwnPostgresql, tls=True) as server:
        yield server


@pytest.fixture
def another_ca(tmp_path: Path) -> Path:
    """An authority that issued neither certificate."""
    return ensure_certificates(tmp_path / "another").ca


def test_events_travel_over_verified_tls(rabbitmq: OwnRabbitMQ, sqlite_url: str, tmp_path: Path) -> None:
    """With BROKER_CA_FILE commands and worker use amqps, and a publisher with `ca_file` does."""
    settings = {"BROKER_URL": rabbitmq.url, "BROKER_CA_FILE": str(rabbitmq.ca_file), "DATABASE_URL": sqlite_url}
    declared = run("topology", "declare", folder=tmp_path, settings=settings)
    assert (declared.returncode, declared.stderr) == (0, "")
    with Publisher(rabbitmq.url, ca_file=rabbitmq.ca_file) as publisher:
        publisher.publish(mapping_changed(1))
    given = {name.lower(): value for name, value in settings.items()}
    keys = {"seal_keys": generate_keypair().private, "client_id": "00000000-0000-0000-0000-000000000001"}
    with app.build(load(given | keys)) as worker:
        wait_for(lambda: _mapped(worker.database) == ["c-1"], "the mapping")
        # Its results leave by the publishing connection, and come back.
        wait_for(lambda: _is_checked(worker.database), "the check of the mapping")
        assert worker.readiness.troubles == {}


@pytest.mark.parametrize("other_name", [False, True], ids=["authority", "name"])
def test_a_broker_that_is_not_who_it_should_be_gets_nothing(
    rabbitmq: OwnRabbitMQ, sqlite_url: str, another_ca: Path, tmp_path: Path, *, other_name: bool
) -> None:
    """A certificate of an unknown authority, or of another name, is refused before a password is sent; both say so."""
    url = rabbitmq.url.replace("127.0.0.1", OTHER_NAME) if other_name else rabbitmq.url
    ca_file = rabbitmq.ca_file if other_name else another_ca
    says = "not valid for '127.1'" if other_name else "certificate "
    settings = {"BROKER_URL": url, "BROKER_CA_FILE": str(ca_file), "DATABASE_URL": sqlite_url}
    told = run("topology", "check", folder=tmp_path, settings=settings)
    assert (told.returncode, says in told.stderr) == (3, True)
    assert "its certificate is refused" in told.stderr
    assert "guest" not in told.stderr
    with Publisher(url, ca_file=ca_file) as publisher, pytest.raises(Unreachable, match=says):
        publisher.publish(mapping_changed())


def test_the_systems_authorities_count_without_a_ca_file(
    rabbitmq: OwnRabbitMQ, sqlite_url: str, tmp_path: Path
) -> None:
    """An authority of one's own is not trusted unless it is named."""
    settings = {"BROKER_URL": rabbitmq.url, "DATABASE_URL": sqlite_url}
    told = run("topology", "check", folder=tmp_path, settings=settings)
    assert (told.returncode, "its certificate is refused" in told.stderr) == (3, True)


def test_the_database_is_verified(postgres: OwnPostgresql, another_ca: Path, tmp_path: Path) -> None:
    """sslmode=verify-full works, and refuses a certificate of another name or of an unknown authority."""

    def upgrade(ca_file: Path | None, **options: str) -> tuple[int, str]:
        query = urlencode({"sslmode": "verify-full", "sslrootcert": str(ca_file), **options})
        done = run("db", "upgrade", folder=tmp_path, settings={"DATABASE_URL": f"{postgres.url}?{query}"})
        return done.returncode, done.stderr

    code, said = upgrade(another_ca)
    assert (code, "certificate verify failed" in said) == (4, True)
    # `host` is the name that is verified, `hostaddr` where it is.
    elsewhere = postgres.url.replace("127.0.0.1", "db.example")
    query = urlencode({"sslmode": "verify-full", "sslrootcert": str(postgres.ca_file), "hostaddr": "127.0.0.1"})
    other = run("db", "upgrade", folder=tmp_path, settings={"DATABASE_URL": f"{elsewhere}?{query}"})
    assert (other.returncode, 'does not match host name "db.example"' in other.stderr) == (4, True)
    assert "postgres:postgres" not in f"{said} {other.stderr}"
    assert upgrade(postgres.ca_file) == (0, "")


def _mapped(database: Database) -> list[str]:
    with database.begin() as tx:
        return [mapping.company_id for mapping in mappings.of_partner(tx, PARTNER)]


def _is_checked(database: Database) -> bool:
    with database.begin() as tx:
        return all(mapping.check is not None for mapping in mappings.of_partner(tx, PARTNER))
