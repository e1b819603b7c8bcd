"""Leases: one worker at a time per partner, and nobody forgotten."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from store import Database, connections, leases, mappings, now, pauses, targets
from store.database import db_now
from store.leases import Health
from store.schema import leases as table
from tests.support.samples import PARTNER, TEN, connection, mapping, minute, push
from tests.support.store import accept, expire_lease, take_lease
from tests.support.waiting import together


def _acquire(database: Database) -> str | None:
    """The token of the lease, if it was to be had."""
    lease = take_lease(database, PARTNER)
    return lease.token if lease else None


def _claimed(database: Database, limit: int = 100) -> list[str]:
    """The partners that a worker would take up now."""
    with database.begin() as tx:
        return [lease.partner_id for lease in leases.claim(tx, limit)]


def _release(database: Database, token: str | None, after: float | None = None) -> bool:
    """Let go, for so many seconds; None = until the partner is woken."""
    with database.partner(PARTNER) as tx:
        wake_at = None if after is None else now(tx) + timedelta(seconds=after)
        return leases.release(tx, PARTNER, str(token), wake_at)


def test_a_lease_goes_to_one_worker(database: Database) -> None:
    """However many workers are woken at one moment, one calls the partner's ConnectWise."""
    for _ in range(5):
        tokens = together(*[lambda: _acquire(database)] * 4)
        [token] = [token for token in tokens if token is not None]
        assert _acquire(database) is None
        assert _release(database, token)


def test_a_lease_that_ended_is_taken_over_and_the_old_token_is_void(database: Database) -> None:
    """A worker that was stalled finds out before it stores or writes anything more."""
    old = _acquire(database)
    assert old is not None
    with database.begin() as tx:
        expire_lease(tx, PARTNER)
    new = _acquire(database)
    assert new not in {None, old}
    with database.begin() as tx:
        assert not leases.renew(tx, PARTNER, old, 60.0)
        assert not leases.release(tx, PARTNER, old)
        assert leases.renew(tx, PARTNER, str(new), 60.0)


def test_a_renewed_lease_is_not_taken_over(database: Database) -> None:
    """A long run keeps its lease as long as it says so."""
    token = _acquire(database)
    with database.begin() as tx:
        expire_lease(tx, PARTNER)
        assert leases.renew(tx, PARTNER, str(token), 60.0)
    assert _acquire(database) is None


def test_partners_have_leases_of_their_own(database: Database) -> None:
    """One partner's run keeps no other partner waiting."""
    _acquire(database)
    assert take_lease(database, "msp-2") is not None


def test_the_next_worker_goes_on_with_the_budget_that_was_left(database: Database) -> None:
    """A hand-over between workers is no way around ConnectWise's limit of requests."""
    token = _acquire(database)
    with database.begin() as tx:
        leases.renew(tx, PARTNER, str(token), 7.5)
        leases.release(tx, PARTNER, str(token))
    lease = take_lease(database, PARTNER)
    assert lease is not None
    assert lease.budget_tokens == 7.5
    assert 0 <= lease.budget_age < 60


def test_a_holder_that_vanished_has_left_no_budget(database: Database) -> None:
    """The budget that a killed worker spent since it last said so is not spent again."""
    token = _acquire(database)
    with database.begin() as tx:
        leases.renew(tx, PARTNER, str(token), 60.0)
        expire_lease(tx, PARTNER)
    lease = take_lease(database, PARTNER)
    assert lease is not None
    assert lease.budget_tokens == 0.0


@pytest.mark.parametrize("who", [PARTNER, pauses.EVERYBODY])
def test_a_worker_is_told_of_an_operators_pause(database: Database, who: str) -> None:
    """A worker that begins while a pause lasts, and one at work, leaves ConnectWise alone."""
    token = _acquire(database)
    with database.begin() as tx:
        pauses.pause(tx, who, "olga", "they are upgrading")
        renewed = leases.renew(tx, PARTNER, str(token), 60.0)
        assert renewed is not None
        assert renewed.paused
        found = pauses.find(tx, PARTNER)
        assert found is not None
        assert (found.paused_by, found.why) == ("olga", "they are upgrading")
    _release(database, token)
    lease = take_lease(database, PARTNER)
    assert lease is not None
    assert lease.paused
    _release(database, lease.token)
    with database.begin() as tx:
        assert pauses.resume(tx, who)
        assert not pauses.resume(tx, who)
    lease = take_lease(database, PARTNER)
    assert lease is not None
    assert not lease.paused


def test_a_pause_of_one_partner_is_not_the_others(database: Database) -> None:
    """Only who was named waits."""
    with database.begin() as tx:
        pauses.pause(tx, "msp-2", "olga", "upgrade")
    lease = take_lease(database, PARTNER)
    assert lease is not None
    assert not lease.paused


def test_who_is_woken_is_taken_up_once(database: Database) -> None:
    """Ten thousand events of one partner, and two workers, are one run."""
    for _ in range(3):
        with database.partner(PARTNER) as tx:
            leases.wake(tx, PARTNER)
    assert _claimed(database) == [PARTNER]
    assert _claimed(database) == []


def test_who_needs_nobody_is_taken_up_by_nobody(database: Database) -> None:
    """A partner at rest costs nothing."""
    with database.partner(PARTNER):
        pass
    assert _claimed(database) == []
    assert _release(database, _acquire(database))
    assert _claimed(database) == []


def test_a_partner_that_needs_nobody_yet_waits(database: Database) -> None:
    """A delay is a time in the row, not a thread that sleeps; what comes meanwhile does not wait for it."""
    _release(database, _acquire(database), after=300.0)
    assert _claimed(database) == []
    with database.partner(PARTNER) as tx:
        leases.wake(tx, PARTNER)
    assert _claimed(database) == [PARTNER]
    with database.begin() as tx:
        tx.execute(update(table).values(token=None, until=None, wake_at=db_now(-1)))
    assert _claimed(database) == [PARTNER]


def test_a_holder_that_lets_go_decides_when_the_next_one_comes(database: Database) -> None:
    """It has seen what came while it worked, so nobody looks once more for that."""
    token = _acquire(database)
    with database.partner(PARTNER) as tx:
        leases.wake(tx, PARTNER)
    _release(database, token)
    assert _claimed(database) == []


def test_what_a_killed_worker_left_is_taken_up(database: Database) -> None:
    """Nobody need wake a partner whose worker vanished."""
    _acquire(database)
    assert _claimed(database) == []
    with database.begin() as tx:
        expire_lease(tx, PARTNER)
    assert _claimed(database) == [PARTNER]


def test_who_has_waited_longest_comes_first(database: Database) -> None:
    """A worker takes what it has room for, and no partner waits for ever behind busier ones."""
    for number in range(5):
        with database.partner(f"msp-{number}") as tx:
            tx.execute(update(table).where(table.c.partner_id == f"msp-{number}").values(wake_at=db_now(number - 10)))
    assert sorted(_claimed(database, 2)) == ["msp-0", "msp-1"]
    assert sorted(_claimed(database, 2)) == ["msp-2", "msp-3"]


def test_all_can_be_woken(database: Database) -> None:
    """After a pause of all nobody is forgotten."""
    for number in range(3):
        with database.partner(f"msp-{number}"):
            pass
    with database.begin() as tx:
        leases.wake_all(tx)
    assert sorted(_claimed(database)) == ["msp-0", "msp-1", "msp-2"]


def test_how_a_partner_does_is_kept_for_the_next_worker(database: Database) -> None:
    """A pause survives the worker that made it, and ends when it is taken back."""
    paused = Health(minute(5), "unreachable", 3, TEN, TEN)
    for health in (paused, Health()):
        with database.partner(PARTNER) as tx:
            leases.save_health(tx, PARTNER, health)
        with database.begin() as tx:
            assert leases.health(tx, PARTNER) == health


def test_next_due_is_the_earliest_of_all_that_waits(database: Database) -> None:
    """A worker lets go only of a partner that needs nothing, and leaves word for when it does."""
    found = []
    with database.partner(PARTNER) as tx:
        found.append(leases.due_times(tx, PARTNER).first)
        connections.save(tx, connection(check_due_at=minute(4)))
        found.append(leases.due_times(tx, PARTNER).first)
        mappings.save(tx, mapping(check_due_at=minute(3)))
        found.append(leases.due_times(tx, PARTNER).first)
    accept(database, push("p-1", mode="preview"), at=minute(2))
    with database.begin() as tx:
        found.append(leases.due_times(tx, PARTNER).first)
    accept(database, push("p-2"), at=minute(1))
    with database.begin() as tx:
        found.append(leases.due_times(tx, PARTNER).first)
    with database.partner("msp-2") as tx:
        assert leases.due_times(tx, "msp-2").first is None
    assert found == [None, minute(4), minute(3), minute(2), minute(1)]


def test_what_failed_before_a_pause_is_counted_anew(database: Database) -> None:
    """While an operator holds a partner back nobody can try, so that time is not taken from what waits."""
    accept(database, push())
    with database.partner(PARTNER) as tx:
        (target,) = targets.unsettled(tx, PARTNER)
        long_ago = now(tx) - timedelta(days=2)
        targets.postpone(tx, PARTNER, [replace(target, attempts=3, first_failed_at=long_ago)])
        leases.save_health(tx, PARTNER, Health(unreachable_count=2, unreachable_since=long_ago))
    with database.begin() as tx:
        assert leases.failing_partners(tx) == [PARTNER]
    with database.partner(PARTNER) as tx:
        leases.reset_failures(tx, PARTNER)
        (target,) = targets.unsettled(tx, PARTNER)
        assert (target.attempts, target.first_failed_at, leases.health(tx, PARTNER)) == (0, None, Health())
    with database.begin() as tx:
        assert leases.failing_partners(tx) == []


def test_who_should_have_been_woken_is_found(database: Database) -> None:
    """Something is due, and nobody is at work, or comes by itself: the net under whatever forgot to wake."""
    accept(database, push())
    accept(database, push("p-2", partner_id="msp-2"))
    with database.begin() as tx:
        pauses.pause(tx, "msp-2", "olga", "upgrade")
        assert leases.wake_orphaned(tx) == [PARTNER]
        assert leases.wake_orphaned(tx) == []
    assert _claimed(database) == [PARTNER]
    with database.begin() as tx:
        assert leases.wake_orphaned(tx) == []


def test_a_renewal_that_waited_sees_what_it_waited_for(database: Database) -> None:
    """A flush that waits for the handler of a new connection, or of `resume`, decides with what that has stored."""
    with database.partner(PARTNER) as tx:
        connections.save(tx, connection())
        pauses.pause(tx, PARTNER, "ana", "")
    lease = take_lease(database, PARTNER)
    assert lease is not None
    is_locked = threading.Event()

    def announce() -> None:
        with database.partner(PARTNER) as tx:
            connections.save(tx, replace(connection(), changed_at=minute(9), message_id="newer"))
            pauses.resume(tx, PARTNER)
            is_locked.set()
            threading.Event().wait(0.3)

    def renew() -> leases.Renewed | None:
        is_locked.wait()
        with database.begin() as tx:
            return leases.renew(tx, PARTNER, lease.token, 60.0)

    _, renewed = together(announce, renew)
    assert renewed is not None
    assert (renewed.connection, renewed.paused) == ((minute(9), "newer"), False)
