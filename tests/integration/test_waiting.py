"""Commands tell why the work of a partner waits."""

from datetime import timedelta

import pytest

from store import Database, leases, now, pauses, workers
from worker.coordination import waiting
from worker.settings import Settings, load

RABBITMQ = {"broker_url": "amqp://guest:guest@localhost/", "database_url": "sqlite:///not-opened.db"}


@pytest.fixture
def settings() -> Settings:
    """Of an installation with RabbitMQ."""
    return load(RABBITMQ)


def why(database: Database, settings: Settings) -> str | None:
    """The cause that is told of partner p1."""
    with database.begin() as tx:
        return waiting.reason(tx, settings, "p1")


def work(database: Database, trouble: str | None) -> None:
    """Let a worker say how it does."""
    with database.begin() as tx:
        workers.heartbeat(tx, "w", "host", 1, trouble, 0.0)


def test_no_worker_or_none_that_works(database: Database, settings: Settings) -> None:
    """Without a worker, or if none can work, that is the cause; an embedded installation runs its own."""
    assert why(database, settings) == "No worker runs. Start one with `phin-connectwise worker`."
    work(database, "RabbitMQ is away")
    assert why(database, settings) == "No worker can work: RabbitMQ is away."
    work(database, None)
    assert why(database, settings) is None
    assert why(database, load({"database_url": "sqlite:///not-opened.db"})) is None


def test_who_paused_it(database: Database, settings: Settings) -> None:
    """A pause names who made it, since when, why, and the command that ends just that one."""
    work(database, None)
    for partner, option in (("p1", "--partner p1"), (pauses.EVERYBODY, "--all")):
        with database.begin() as tx:
            pauses.pause(tx, partner, "ana", "they upgrade")
        told = why(database, settings)
        assert told is not None
        assert told.startswith("Paused by ana since 20")
        assert told.endswith(f": they upgrade. It goes on after `phin-connectwise resume {option}`.")
        with database.begin() as tx:
            pauses.resume(tx, partner)


def test_since_when_connectwise_is_away(database: Database, settings: Settings) -> None:
    """A ConnectWise that is left alone is told with since when, and when it is asked again."""
    work(database, None)
    with database.partner("p1") as tx:
        at = now(tx)
        since, until = at - timedelta(hours=2), at + timedelta(minutes=5)
        health = leases.Health(until, "unreachable", unreachable_count=9, unreachable_since=since)
        leases.save_health(tx, "p1", health)
    told = why(database, settings)
    assert told == (
        f"ConnectWise does not answer, since {since:%Y-%m-%d %H:%M} UTC; it is asked again at {until:%H:%M:%S} UTC."
    )
