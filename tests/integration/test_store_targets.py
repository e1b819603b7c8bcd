"""Targets: what is due, in which order, and what has been settled."""

from dataclasses import replace
from datetime import timedelta

from store import Database, now, targets
from store.targets import Holder, Target
from tests.support.samples import NOVEMBER, OCTOBER, PARTNER, TENANT, minute, push
from tests.support.store import accept


def _due(database: Database, limit: int = 100) -> list[tuple[str, str, str]]:
    with database.begin() as tx:
        return [
            (target.push_id, target.period_key, target.company_id)
            for target in targets.due(tx, PARTNER, now(tx), limit)
        ]


def _all(database: Database) -> dict[str, Target]:
    with database.begin() as tx:
        found = targets.of_companies(tx, PARTNER, ["c-1", "c-2", "c-3"])
    return {target.company_id: target for target in found.values()}


def test_the_newest_push_is_due_first_then_the_newest_period(database: Database) -> None:
    """A push that somebody has just asked for does not wait behind yesterday's huge one."""
    accept(database, push("p-1", {"c-2": 1, "c-1": 1}, at=0))
    accept(database, push("p-2", {"c-1": 1}, at=1, month="2025-10"))
    accept(database, push("p-3", {"c-3": 1}, at=1))
    expected = [
        ("p-3", NOVEMBER.key, "c-3"),
        ("p-2", OCTOBER.key, "c-1"),
        ("p-1", NOVEMBER.key, "c-1"),
        ("p-1", NOVEMBER.key, "c-2"),
    ]
    assert _due(database) == expected
    assert _due(database, limit=2) == expected[:2]


def test_another_partners_wishes_are_not_seen(database: Database) -> None:
    """A worker that serves one partner touches nothing of another."""
    accept(database, push(partner_id="msp-2"))
    assert _due(database) == []


def test_a_postponed_wish_is_due_at_its_time(database: Database) -> None:
    """A line that failed waits for its next attempt and remembers the earlier ones."""
    accept(database, push())
    with database.partner(PARTNER) as tx:
        [target] = targets.unsettled(tx, PARTNER)
        later = now(tx) + timedelta(minutes=5)
        postponed = replace(target, attempts=3, first_failed_at=minute(1), reported_at=minute(2), due_at=later)
        targets.postpone(tx, PARTNER, [postponed])
    assert _due(database) == []
    with database.begin() as tx:
        assert targets.unsettled(tx, PARTNER) == [postponed]
        assert targets.due(tx, PARTNER, later, 10) == [postponed]


def test_a_newer_wish_forgets_the_attempts_of_the_old(database: Database) -> None:
    """A new push starts afresh and at once, whatever became of the one before."""
    accept(database, push("p-1", at=0))
    with database.partner(PARTNER) as tx:
        [target] = targets.unsettled(tx, PARTNER)
        tried = replace(
            target, attempts=9, first_failed_at=minute(1), reported_at=minute(1), due_at=now(tx) + timedelta(1)
        )
        targets.postpone(tx, PARTNER, [tried])
    accept(database, push("p-2", {"c-1": 8}, at=1))
    target = _all(database)["c-1"]
    assert (target.push_id, target.billable_users, target.attempts) == ("p-2", 8, 0)
    assert (target.first_failed_at, target.reported_at) == (None, None)
    assert _due(database) == [("p-2", NOVEMBER.key, "c-1")]


def test_a_settled_wish_is_due_no_more_until_a_newer_one(database: Database) -> None:
    """Each target is worked for once, and a newer one again."""
    accept(database, push("p-1", {"c-1": 1, "c-2": 2}, at=0))
    with database.partner(PARTNER) as tx:
        first, _ = targets.unsettled(tx, PARTNER)
        targets.settle(tx, PARTNER, [(first, Holder(TENANT, (7, 11)))])
    assert _due(database) == [("p-1", NOVEMBER.key, "c-2")]
    assert _all(database)["c-1"].due_at is None
    accept(database, push("p-0", {"c-1": 1}, at=-1))
    assert _due(database) == [("p-1", NOVEMBER.key, "c-2")]
    accept(database, push("p-2", {"c-1": 1}, at=1))
    assert ("p-2", NOVEMBER.key, "c-1") in _due(database)


def test_the_periods_of_an_addition_are_those_it_was_settled_with(database: Database) -> None:
    """An older month is recognised also when the newer one needed no write."""
    accept(database, push("p-1", {"c-1": 1, "c-2": 2}))
    accept(database, push("p-2", {"c-1": 1, "c-3": 3}, month="2025-10"))
    additions = {"c-1": (7, 11), "c-2": (7, 12), "c-3": None}
    with database.partner(PARTNER) as tx:
        settled = [(target, additions[target.company_id]) for target in targets.unsettled(tx, PARTNER)]
        targets.settle(tx, PARTNER, [(target, at and Holder(TENANT, at)) for target, at in settled])
        held = targets.held_periods(tx, PARTNER, TENANT, [(7, 11), (7, 12), (7, 13)])
        assert targets.held_periods(tx, PARTNER, "other", [(7, 11)]) == []
        assert targets.held_periods(tx, PARTNER, TENANT, []) == []
    november, october = (NOVEMBER.start, NOVEMBER.end), (OCTOBER.start, OCTOBER.end)
    assert sorted(held) == [((7, 11), october), ((7, 11), november), ((7, 12), november)]


def test_what_was_waited_for_makes_a_wish_due_at_once(database: Database) -> None:
    """A mapping that arrives wakes its company's line, a connection all lines, and neither one that is settled."""
    accept(database, push(users={"c-1": 1, "c-2": 2, "c-3": 3}))
    with database.partner(PARTNER) as tx:
        later = now(tx) + timedelta(minutes=1)
        one, two, three = targets.unsettled(tx, PARTNER)
        targets.postpone(tx, PARTNER, [replace(target, due_at=later) for target in (one, two)])
        targets.settle(tx, PARTNER, [(three, None)])
        targets.make_due(tx, PARTNER, now(tx), ["c-2"])
    assert _due(database) == [("p-1", NOVEMBER.key, "c-2")]
    with database.partner(PARTNER) as tx:
        targets.make_due(tx, PARTNER, now(tx))
    assert _due(database) == [("p-1", NOVEMBER.key, "c-1"), ("p-1", NOVEMBER.key, "c-2")]


def test_nobody_asked_for_is_nobody(database: Database) -> None:
    """A look at no company gives no target."""
    with database.begin() as tx:
        assert targets.of_companies(tx, PARTNER, []) == {}
