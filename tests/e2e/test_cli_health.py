"""`health` after a worker was killed: it says what happened, and alarms only if nobody does the work."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from store import workers
from store.database import db_now
from store.schema import workers as rows
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app


@pytest.fixture
def settings(amqp_url: str, postgresql_url: str) -> tuple[str, str]:
    """The broker and the database of an installation with servers."""
    return amqp_url, postgresql_url


def _kill_one(world: World) -> None:
    """Leave the row of a worker that spoke ten minutes ago and never again."""
    with world.database.begin() as tx:
        workers.heartbeat(tx, "killed", "host", 17, None, 0.0)
        tx.execute(update(rows).where(rows.c.id == "killed").values(seen_at=db_now(-600)))


def _health(world: World) -> tuple[int, str]:
    done = world.command("health")
    return done.returncode, " ".join(done.stdout.split())


def test_a_killed_worker_is_an_alarm_until_another_runs(settings: tuple[str, str], tmp_path: Path) -> None:
    """The operator learns that nobody works and what to start; once that runs, all is well again."""
    with World(*settings, tmp_path) as world:
        _kill_one(world)
        with world.database.begin() as tx:
            (dead,) = workers.recent(tx)
        goes = f"{dead.seen_at + timedelta(hours=1):%H:%M} UTC"
        code, shown = _health(world)
        assert code == 1
        assert "✗ worker host 17 was killed, or cut off from the database: silent since" in shown
        assert f"another worker takes over its work; this line goes by itself at {goes}" in shown
        assert "✗ workers no worker runs; start one with `phin-connectwise worker`" in shown
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            wait_for(lambda: _health(world)[0] == 0, "health to be well")
            shown = _health(world)[1]
    assert "? worker host 17 was killed" in shown
    assert "✗" not in shown


def test_a_command_that_was_killed_is_no_alarm(postgresql_url: str, tmp_path: Path) -> None:
    """Without a broker the next command that pushes does the work, so nothing has to be started."""
    with World("local:", postgresql_url, tmp_path) as world:
        _kill_one(world)
        code, shown = _health(world)
    assert code == 0
    assert "? worker host 17 was killed" in shown
    assert "no worker runs; commands that push run one" in shown
