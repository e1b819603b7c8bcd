"""The ages of what waits, as the metrics tell them."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from store import Database, ages, dead_letters, leases, now, outbox, pauses, workers
from store.database import db_now
from store.dead_letters import DeadLetter
from store.leases import Health
from store.schema import dead_letters as letters_table
from store.schema import outbox as outbox_table
from store.schema import pushes, syncs
from store.schema import workers as workers_table
from tests.support.samples import PARTNER, mapping_changed, push
from tests.support.store import accept, deferred

LETTER = DeadLetter(
    id="1", queue="connectwise.push-requested.v1", body=b"", properties={}, reason="contract", error="wrong"
)


def test_nothing_waits_in_an_empty_store(database: Database) -> None:
    """An installation with nothing to do raises no alarm."""
    with database.begin() as tx:
        found = ages.read(tx)
    assert (found.outbox, found.deferred, found.target, found.push) == (None, None, None, None)
    assert (found.letters, found.paused, found.workers_alive, found.workers_silent) == ({}, {}, 0, 0)


def test_each_age_is_that_of_the_oldest(database: Database) -> None:
    """An operator sees for how long the oldest of each kind has waited, whatever came after it."""
    accept(database, push("p-1"))
    accept(database, push("p-2", partner_id="other"))
    with database.begin() as tx:
        outbox.put(tx, mapping_changed(1))
        tx.execute(update(outbox_table).values(not_before=db_now(-60)))
        outbox.put(tx, mapping_changed(2))
        outbox.defer(tx, [(deferred(push("p-3")), 0.0)])
        tx.execute(update(pushes).where(pushes.c.push_id == "p-2").values(accepted_at=db_now(-120)))
        tx.execute(update(syncs).where(syncs.c.partner_id == PARTNER).values(due_at=db_now(-30)))
        dead_letters.add(tx, LETTER, replace(LETTER, id="2", reason="exhausted"), replace(LETTER, id="3"))
        tx.execute(update(letters_table).where(letters_table.c.id == "1").values(last_failed_at=db_now(-90)))
        leases.save_health(tx, PARTNER, Health(paused_until=now(tx) + timedelta(hours=1), paused_why="unreachable"))
        for number in ("1", "2"):
            workers.heartbeat(tx, number, "host", 1, None, 0.0)
        tx.execute(update(workers_table).where(workers_table.c.id == "1").values(seen_at=db_now(-60)))
        found = ages.read(tx)
    waited = {
        name: round((found.at - at).total_seconds())
        for name, at in (("outbox", found.outbox), ("target", found.target), ("push", found.push))
        if at is not None
    }
    assert waited == {"outbox": 60, "target": 30, "push": 120}
    assert found.deferred is not None
    assert {reason: letters.count for reason, letters in found.letters.items()} == {"contract": 2, "exhausted": 1}
    assert round((found.at - found.letters["contract"].oldest).total_seconds()) == 90
    assert found.paused == {"unreachable": 1}
    assert (found.workers_alive, found.workers_silent) == (1, 1)


def test_lines_of_a_paused_partner_do_not_age(database: Database) -> None:
    """Whoever has paused a partner is not told that its lines wait."""
    accept(database, push("p-1"))
    with database.begin() as tx:
        assert ages.read(tx).target is not None
        pauses.pause(tx, PARTNER, "ana", "they upgrade")
        assert ages.read(tx).target is None
