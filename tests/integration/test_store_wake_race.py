"""The wake-up race: whatever the order in which a holder looks and lets go and a push is accepted, nobody is lost.

Each actor runs in a thread and on a connection of its own and is let on step by step; a step that waits for a lock of
the other actor counts as made.
"""

import itertools
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text

from store import Database, leases, now, pushes, targets
from tests.support.samples import PARTNER, push
from tests.support.store import take_lease
from tests.support.waiting import wait_for


class Actor:
    """A thread that makes a step whenever it is let, up to its next `pause()`."""

    def __init__(self, act: Callable[["Actor"], None]) -> None:
        self._allowed, self._made, self._ended = 0, 0, False
        self._turns = threading.Semaphore(0)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(act,))
        self._thread.start()

    @property
    def rests(self) -> bool:
        """True if it has made all steps that it was allowed, or has ended."""
        return self._ended or self._made >= self._allowed

    def pause(self) -> None:
        """The step is made; wait to be let on."""
        self._made += 1
        self._turns.acquire()

    def let_on(self) -> None:
        """Allow one more step."""
        self._allowed += 1
        self._turns.release()

    def join(self) -> None:
        """Wait for the end; raises what the thread raised."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, act: Callable[["Actor"], None]) -> None:
        self._turns.acquire()
        try:
            act(self)
        except Exception as error:  # noqa: BLE001 - raised again by join()
            self._failure = error
        self._ended = True


class Race:
    """A partner whose lease is held and who needs nothing, just before a push is accepted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.at_work = True
        lease = take_lease(database, PARTNER)
        assert lease is not None
        self._token = lease.token

    def let_go(self, actor: Actor) -> None:
        """The holder: lock, look; release and commit unless there is something to do."""
        with self._database.partner(PARTNER) as tx:
            assert leases.renew(tx, PARTNER, self._token, 60.0)
            due = leases.due_times(tx, PARTNER).first
            actor.pause()
            if due is None:
                leases.release(tx, PARTNER, self._token)
        self.at_work = due is not None

    def accept(self, actor: Actor) -> None:
        """The push: accept and wake; commit; then a worker looks for a partner to take up."""
        with self._database.partner(PARTNER) as tx:
            event = push()
            pushes.accept(tx, event, "body", now(tx))
            leases.wake(tx, PARTNER)
            actor.pause()
        actor.pause()
        with self._database.begin() as tx:
            if leases.claim(tx, 1):
                self.at_work = True

    def settled(self, actors: list[Actor]) -> bool:
        """True if each actor rests, or waits for a lock."""
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with self._database.begin() as tx:
            waiting: int = tx.execute(text(busy)).scalar_one()
        return sum(not actor.rests for actor in actors) <= waiting


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("order", sorted(set(itertools.permutations("llaaa"))), ids="".join)
def test_a_push_accepted_while_a_worker_lets_go_is_worked_for(database: Database, order: tuple[str, ...]) -> None:
    """The worker that lets go sees the push, or the partner is taken up by the next: never neither."""
    race = Race(database)
    actors = {"l": Actor(race.let_go), "a": Actor(race.accept)}
    both = list(actors.values())
    for name in order:
        actors[name].let_on()
        wait_for(lambda: race.settled(both), f"step {name} of {''.join(order)}")
    for actor in both:
        actor.join()
    with database.begin() as tx:
        assert len(targets.due(tx, PARTNER, now(tx), 10)) == 1
    assert race.at_work
