"""A locked table: waiting is not failing, however long it lasts."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from store import database as door
from store import workers
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker import health as readiness
from worker.messaging import relay, store_retry

LOCKED = "canceling statement due to lock timeout"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The waits that the worker has told of; it waits for 50 ms at a time."""
    waits: list[str] = []
    trouble = readiness.Readiness.trouble

    def counted(self: readiness.Readiness, part: readiness.Part, error: Exception, *, expected: bool = True) -> None:
        waits.append(str(error))
        trouble(self, part, error, expected=expected)

    monkeypatch.setattr(readiness.Readiness, "trouble", counted)
    monkeypatch.setattr(readiness, "BUSY_SECONDS", 1.0)
    monkeypatch.setattr(door, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(store_retry, "PAUSE_MOST", 0.05)
    monkeypatch.setattr(relay, "TROUBLE_MOST", 0.5)
    monkeypatch.setattr(app, "HEARTBEAT_SECONDS", 0.3)
    return waits


@contextmanager
def locked(case: Case, table: str) -> Iterator[None]:
    """A migration or VACUUM FULL has this table."""
    with case.world.database.begin() as tx:
        # The test may wait for it, as a migration would.
        tx.execute(text("SET LOCAL lock_timeout = '60s'"))
        tx.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


def health(case: Case) -> str:
    """The words of `phin-connectwise health`, in one line."""
    return " ".join(case.world.command("health").stdout.split())


def seen(case: Case) -> list[workers.Worker]:
    """The workers, as they speak of themselves."""
    with case.world.database.begin() as tx:
        return workers.recent(tx)


# The first is also in the way of what looks after all partners; the second only of who accepts a push.
@pytest.mark.parametrize("table", ["push_lines", "pushes"])
def test_a_push_waits_for_a_locked_table(waits: list[str], busy: Case, table: str) -> None:
    """Many times as long as a message is tried: `health` names the wait, then the push is done and no dead letter."""
    push = busy.world.push("p1", {1: 5})
    with locked(busy, table):
        busy.world.publish(push)
        wait_for(lambda: waits.count(LOCKED) > 4 * store_retry.CONFLICTS, "the worker to wait again and again")
        wait_for(lambda: f"store: {LOCKED}" in health(busy), "health to say what it waits for")
    wait_for(lambda: busy.world.state_of(push) == "completed", "the push's completion")
    assert busy.dead() == {}
    wait_for(lambda: [one.trouble for one in seen(busy)] == [None], "the worker to say that all is well")


def test_a_worker_whose_connections_are_all_in_use_is_not_taken_for_dead(
    waits: list[str], amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """While every connection of its handlers waits for a lock, it goes on to say how it does."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        worker = app.build(world.settings)
        with closing(worker.database), worker, ExitStack() as taken:
            before = wait_for(lambda: seen(Case(world)), "the worker to speak")
            for _ in range(door.POOL_SIZE):
                taken.enter_context(worker.database.begin())
            wait_for(lambda: seen(Case(world))[0].seen_at > before[0].seen_at, "the worker to speak again")
