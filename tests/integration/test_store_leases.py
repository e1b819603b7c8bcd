"""Leases and wake-ups: one worker at a time per partner, and nobody forgotten."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from store import Database, connections, leases, mappings, now, pauses, wishes
from store.database import Tx, db_now
from store.leases import Health
from store.schema import leases as table
from store.schema import outbox
from tests.support.samples import PARTNER, TEN, connection, mapping, minute, push
from tests.support.store import accept, expire_lease
from tests.support.waiting import together


def _acquire(database: Database) -> str | None:
    """The token of the lease, if it was to be had."""
    with database.begin() as tx:
        lease = leases.acquire(tx, PARTNER)
    return lease.token if lease else None


def _wake(database: Database, after: float | None = None) -> None:
    with database.partner(PARTNER) as tx:
        leases.wake(tx, PARTNER, None if after is None else now(tx) + timedelta(seconds=after))


def _wake_ups(database: Database) -> list[datetime]:
    """When each wake-up in the outbox is due."""
    with database.begin() as tx:
        query = select(outbox.c.not_before).where(outbox.c.routing_key == "partner.due.v1").order_by(outbox.c.id)
        return list(tx.execute(query).scalars())


def test_a_lease_goes_to_one_worker(database: Database) -> None:
    """However many workers are woken at one moment, one calls the partner's ConnectWise."""
    for _ in range(5):
        tokens = together(*[lambda: _acquire(database)] * 4)
        [token] = [token for token in tokens if token is not None]
        assert _acquire(database) is None
        with database.begin() as tx:
            assert leases.release(tx, PARTNER, token)


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
    with database.begin() as tx:
        assert leases.acquire(tx, "msp-2") is not None


def test_the_next_worker_goes_on_with_the_budget_that_was_left(database: Database) -> None:
    """A hand-over between workers is no way around ConnectWise's limit of requests."""
    token = _acquire(database)
    with database.begin() as tx:
        leases.renew(tx, PARTNER, str(token), 7.5)
        leases.release(tx, PARTNER, str(token))
    with database.begin() as tx:
        lease = leases.acquire(tx, PARTNER)
        assert lease is not None
        assert lease.budget_tokens == 7.5
        assert 0 <= lease.budget_age < 60


def test_a_holder_that_vanished_has_left_no_budget(database: Database) -> None:
    """What a killed worker spent since it last said so is not spent again."""
    token = _acquire(database)
    with database.begin() as tx:
        leases.renew(tx, PARTNER, str(token), 60.0)
        expire_lease(tx, PARTNER)
        lease = leases.acquire(tx, PARTNER)
        assert lease is not None
        assert lease.budget_tokens == 0.0


@pytest.mark.parametrize("who", [PARTNER, pauses.EVERYBODY])
def test_a_paused_partner_is_left_alone_until_it_is_resumed(database: Database, who: str) -> None:
    """While an operator's pause lasts no worker begins, the one at work is told, and no wake-up is made in vain."""
    accept(database, push())
    token = _acquire(database)
    with database.begin() as tx:
        pauses.pause(tx, who, "olga", "they are upgrading")
        renewed = leases.renew(tx, PARTNER, str(token), 60.0)
        assert renewed is not None
        assert renewed.paused
        leases.release(tx, PARTNER, str(token))
        found = pauses.find(tx, PARTNER)
        assert found is not None
        assert (found.paused_by, found.why) == ("olga", "they are upgrading")
    assert _acquire(database) is None
    with database.begin() as tx:
        assert leases.forgotten(tx) == []
        assert pauses.resume(tx, who)
        assert not pauses.resume(tx, who)
        assert leases.forgotten(tx) == [PARTNER]
    assert _acquire(database) is not None


def test_a_pause_of_one_partner_is_not_the_others(database: Database) -> None:
    """Only who was named waits."""
    with database.begin() as tx:
        pauses.pause(tx, "msp-2", "olga", "upgrade")
    assert _acquire(database) is not None


def test_one_wake_up_is_outstanding_at_most(database: Database) -> None:
    """Ten thousand events of one partner do not become ten thousand wake-ups."""
    for _ in range(3):
        _wake(database)
    assert len(_wake_ups(database)) == 1


@pytest.mark.parametrize(
    ("first", "second", "wake_ups"),
    [(60.0, 30.0, 2), (60.0, None, 2), (60.0, 60.0, 1), (30.0, 60.0, 1), (None, 60.0, 1)],
)
def test_only_an_earlier_wake_up_is_added(
    database: Database, first: float | None, second: float | None, wake_ups: int
) -> None:
    """A new push does not wait for the next attempt of an old one, and a later need waits for the earlier."""
    _wake(database, first)
    _wake(database, second)
    assert len(_wake_ups(database)) == wake_ups


def test_a_wake_up_is_due_when_it_was_asked_for(database: Database) -> None:
    """A pause of minutes is a row with a time, not a thread that sleeps."""
    with database.partner(PARTNER) as tx:
        at = now(tx)
        leases.wake(tx, PARTNER, at + timedelta(minutes=5))
        leases.wake(tx, PARTNER, at - timedelta(minutes=5))
    later, at_once = _wake_ups(database)
    assert later == at + timedelta(minutes=5)
    assert at <= at_once < at + timedelta(minutes=1)


@pytest.mark.parametrize("held", [False, True])
def test_a_wake_up_that_arrived_makes_room_for_the_next(database: Database, *, held: bool) -> None:
    """What comes while a worker is at work, or just after, is not taken for announced already."""
    if held:
        _acquire(database)
    _wake(database)
    _acquire(database)
    _wake(database)
    assert len(_wake_ups(database)) == 2


def test_a_wake_up_that_is_long_overdue_is_taken_for_lost(database: Database) -> None:
    """An outage that swallowed a wake-up does not silence the partner for ever."""
    _wake(database)
    with database.begin() as tx:
        tx.execute(update(table).values(wake_at=db_now(-leases.WAKE_IS_LOST_AFTER.total_seconds() - 1)))
    _wake(database)
    assert len(_wake_ups(database)) == 2


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
        found.append(leases.next_due(tx, PARTNER))
        connections.save(tx, connection(check_due_at=minute(4)))
        found.append(leases.next_due(tx, PARTNER))
        mappings.save(tx, mapping(check_due_at=minute(3)))
        found.append(leases.next_due(tx, PARTNER))
    accept(database, push("p-1", mode="preview"), at=minute(2))
    with database.begin() as tx:
        found.append(leases.next_due(tx, PARTNER))
    accept(database, push("p-2"), at=minute(1))
    with database.begin() as tx:
        found.append(leases.next_due(tx, PARTNER))
        assert leases.next_due(tx, "msp-2") is None
    assert found == [None, minute(4), minute(3), minute(2), minute(1)]


def _served(tx: Tx) -> None:
    leases.acquire(tx, PARTNER)


def _killed(tx: Tx) -> None:
    leases.acquire(tx, PARTNER)
    expire_lease(tx, PARTNER)


def _woken(tx: Tx) -> None:
    leases.wake(tx, PARTNER)


def _woken_in_vain(tx: Tx) -> None:
    leases.wake(tx, PARTNER)
    tx.execute(update(table).values(wake_at=db_now(-leases.WAKE_IS_LOST_AFTER.total_seconds() - 1)))


@pytest.mark.parametrize(
    ("happened", "found"),
    [(None, [PARTNER]), (_served, []), (_killed, [PARTNER]), (_woken, []), (_woken_in_vain, [PARTNER])],
)
def test_what_a_killed_worker_left_is_found(
    database: Database, happened: Callable[[Tx], None] | None, found: list[str]
) -> None:
    """A partner with something due that nobody does and nobody will be told of is found by the sweeper."""
    accept(database, push())
    if happened is not None:
        with database.partner(PARTNER) as tx:
            happened(tx)
    with database.begin() as tx:
        assert leases.forgotten(tx) == found


def test_whatever_is_due_is_found_once(database: Database) -> None:
    """Not only pushes: previews and checks that a killed worker left are found too, and nothing that is not due."""
    soon = TEN.replace(year=9999)
    for partner_id, at in (("a-1", TEN), ("b-1", soon)):
        accept(database, push("p-1", partner_id=partner_id), at=at)
        accept(database, push("p-2", partner_id=partner_id, mode="preview"), at=at)
    with database.begin() as tx:
        for number, due in enumerate((TEN, soon, None)):
            mappings.save(tx, mapping(partner_id=f"c-{number}", check_due_at=due))
            connections.save(tx, connection(partner_id=f"d-{number}", check_due_at=due))
        assert sorted(leases.forgotten(tx)) == ["a-1", "c-0", "d-0"]
        assert len(leases.forgotten(tx, limit=2)) == 2


def test_what_failed_before_a_pause_is_counted_anew(database: Database) -> None:
    """While an operator holds a partner back nobody can try, so that time is not taken from what waits."""
    accept(database, push())
    with database.partner(PARTNER) as tx:
        (wish,) = wishes.unsettled(tx, PARTNER)
        long_ago = now(tx) - timedelta(days=2)
        wishes.postpone(tx, PARTNER, [replace(wish, attempts=3, first_failed_at=long_ago)])
        leases.save_health(tx, PARTNER, Health(unreachable_count=2, unreachable_since=long_ago))
    with database.begin() as tx:
        assert leases.failing(tx) == [PARTNER]
    with database.partner(PARTNER) as tx:
        leases.count_anew(tx, PARTNER)
        (wish,) = wishes.unsettled(tx, PARTNER)
        assert (wish.attempts, wish.first_failed_at, leases.health(tx, PARTNER)) == (0, None, Health())
    with database.begin() as tx:
        assert leases.failing(tx) == []
