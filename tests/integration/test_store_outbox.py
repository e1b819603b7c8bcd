"""The outbox: what a committed transaction says leaves at least once, and no row is in two hands."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from messages import PartnerDue, decode
from store import Database, now, outbox
from store.database import db_now
from store.outbox import EXCHANGE_INTERNAL, OutboxRow
from store.schema import outbox as table
from tests.support.samples import PARTNER, mapping_changed, push, sync_result
from tests.support.store import leaving
from tests.support.waiting import together


def _put(database: Database, count: int, exchange: str = "x", routing_key: str = "k") -> None:
    with database.begin() as tx:
        outbox.put_rows(tx, [outbox.row(exchange, routing_key, {"message_id": str(n)}, b"{}") for n in range(count)])


def _claim(database: Database, limit: int = 100, seconds: float = 60.0) -> list[OutboxRow]:
    with database.begin() as tx:
        return outbox.claim(tx, limit, seconds)[1]


def _names(rows: list[OutboxRow]) -> list[str]:
    return [row.message_id for row in rows]


def test_a_message_leaves_as_it_was_made(database: Database) -> None:
    """What a consumer decodes is what the worker said, by the exchange of its kind."""
    event, result = mapping_changed(), sync_result(push())
    wake_up = PartnerDue(partner_id=PARTNER, correlation_id=PARTNER)
    with database.begin() as tx:
        outbox.put(tx, event, result, wake_up)
    rows = _claim(database)
    assert [row.exchange for row in rows] == ["phin.billing", "connectwise.sync", EXCHANGE_INTERNAL]
    assert [row.routing_key for row in rows] == [event.type, result.type, wake_up.type]
    for row, message in zip(rows, (event, result, wake_up), strict=True):
        assert row.message_id == row.properties["message_id"] == str(message.id)
        assert decode(row.body, type=row.properties["type"], content_type=row.properties["content_type"]) == message


def test_what_is_rolled_back_does_not_leave(database: Database) -> None:
    """Nothing is announced that did not happen."""

    def fail() -> None:
        with database.begin() as tx:
            outbox.put(tx, mapping_changed())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert leaving(database) == []


def test_no_row_is_claimed_twice(database: Database) -> None:
    """Relays side by side share the rows and never publish one at the same time."""
    _put(database, 200)
    claims = together(*[lambda: [row.id for _ in range(20) for row in _claim(database, 10)]] * 4)
    claimed = [row_id for claim in claims for row_id in claim]
    assert len(claimed) == len(set(claimed)) == 200


def test_a_claim_takes_the_oldest_and_no_more_than_its_limit(database: Database) -> None:
    """A relay takes what it can publish, in the order in which it was put."""
    _put(database, 30)
    assert _names(_claim(database, 7)) == [str(n) for n in range(7)]
    assert len(_claim(database, 7)) == 7


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_claims_limit_holds_whatever_the_plan(database: Database) -> None:
    """PostgreSQL may not evaluate the choice of rows anew for each row."""
    _put(database, 30)
    with database.begin() as tx:
        for way in ("hashagg", "hashjoin", "mergejoin", "material", "sort"):
            tx.execute(text(f"SET LOCAL enable_{way} = off"))
        assert len(outbox.claim(tx, 1, 60.0)[1]) == 1


def test_an_expired_claim_gives_its_rows_back(database: Database) -> None:
    """What a killed relay had in hand leaves all the same, and the try is counted."""
    _put(database, 1)
    assert [row.attempts for row in _claim(database)] == [1]
    assert _claim(database) == []
    with database.begin() as tx:
        tx.execute(update(table).values(claim_until=db_now(-1)))
    assert [row.attempts for row in _claim(database)] == [2]


def test_an_extended_claim_goes_on(database: Database) -> None:
    """A handler that takes long keeps its message, but not with a token that is void."""
    _put(database, 1)
    with database.begin() as tx:
        token, [row] = outbox.claim(tx, 1, -1.0)
        outbox.extend(tx, "another", [row.id], 60.0)
    with database.begin() as tx:
        token, [row] = outbox.claim(tx, 1, -1.0)
        outbox.extend(tx, token, [row.id], 60.0)
    assert _claim(database) == []


def test_a_later_message_waits(database: Database) -> None:
    """A delay is a row: it leaves at its time and not before."""
    with database.begin() as tx:
        at = now(tx)
        outbox.put(tx, mapping_changed(1), not_before=at + timedelta(minutes=5))
        outbox.put(tx, mapping_changed(2), not_before=at)
    assert len(_claim(database)) == 1
    assert len(leaving(database)) == 2


@pytest.mark.parametrize(("tried", "attempts"), [(True, 2), (False, 1)])
def test_rows_given_back_are_taken_again_and_an_outage_is_no_try(
    database: Database, *, tried: bool, attempts: int
) -> None:
    """A row that the broker refused comes nearer to its dead letter, one that it never saw does not."""
    _put(database, 1)
    [row] = _claim(database)
    with database.begin() as tx:
        outbox.give_back(tx, [row.id], tried=tried)
    assert [row.attempts for row in _claim(database)] == [attempts]


def test_a_row_given_back_with_a_delay_waits(database: Database) -> None:
    """A refused row backs off and lets the others pass."""
    _put(database, 2)
    first, _ = _claim(database)
    with database.begin() as tx:
        outbox.give_back(tx, [first.id], after=60.0, tried=True)
    assert _claim(database) == []


def test_only_what_arrived_is_deleted(database: Database) -> None:
    """A confirm removes its row and no other."""
    _put(database, 3)
    first, second, third = _claim(database)
    with database.begin() as tx:
        outbox.delete(tx, [first.id, third.id])
    assert leaving(database) == [second.message_id]


def test_what_is_due_can_be_claimed_by_its_kind(database: Database) -> None:
    """Without a broker each kind has its own pace: a slow one does not hold up the others."""
    _put(database, 2, "x", "slow")
    _put(database, 1, "x", "quick")
    with database.begin() as tx:
        assert sorted(outbox.due_keys(tx)) == [("x", "quick"), ("x", "slow")]
        _, rows = outbox.claim(tx, 10, 60.0, only=("x", "quick"))
        assert [row.routing_key for row in rows] == ["quick"]
        assert outbox.due_keys(tx) == [("x", "slow")]
