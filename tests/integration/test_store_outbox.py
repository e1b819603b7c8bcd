"""The outbox: what a committed transaction says leaves at least once, and no row is in two hands."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from messages import decode
from store import Database, now, outbox
from store.database import db_now
from store.outbox import Claim, OutboxRow
from store.schema import EXCHANGE_DEFERRED
from store.schema import outbox as table
from tests.support.samples import mapping_changed, push, sync_result
from tests.support.store import claimed, leaving
from tests.support.waiting import together


def _put(database: Database, count: int, exchange: str = "x", routing_key: str = "k") -> None:
    with database.begin() as tx:
        outbox.put_rows(
            tx, [outbox.new_row(exchange, routing_key, {"message_id": str(n)}, b"{}") for n in range(count)]
        )


def _claim(database: Database, limit: int = 100, seconds: float = 60.0) -> list[OutboxRow]:
    with database.begin() as tx:
        return claimed(tx, limit, seconds)


def _names(rows: list[OutboxRow]) -> list[str]:
    return [row.message_id for row in rows]


def test_a_message_leaves_as_it_was_made(database: Database) -> None:
    """A consumer decodes exactly what the worker said, and gets it by the exchange of its kind."""
    event, result = mapping_changed(), sync_result(push())
    with database.begin() as tx:
        outbox.put(tx, event, result)
    rows = _claim(database)
    assert [row.exchange for row in rows] == ["phin.billing", "connectwise.sync"]
    assert [row.routing_key for row in rows] == [event.type, result.type]
    for row, message in zip(rows, (event, result), strict=True):
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
        assert len(outbox.claim(tx, 1, 60.0).ids) == 1


def test_an_expired_claim_gives_its_rows_back(database: Database) -> None:
    """The rows that a killed relay had in hand leave all the same, and the try is counted."""
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
        taken = outbox.claim(tx, 1, -1.0)
        outbox.extend(tx, Claim("another", taken.ids), 60.0)
    with database.begin() as tx:
        taken = outbox.claim(tx, 1, -1.0)
        outbox.extend(tx, taken, 60.0)
    assert _claim(database) == []


def test_a_later_message_waits(database: Database) -> None:
    """A delay is a row: it leaves at its time and not before."""
    with database.begin() as tx:
        at = now(tx)
        outbox.put(tx, mapping_changed(1), not_before=at + timedelta(minutes=5))
        outbox.put(tx, mapping_changed(2), not_before=at)
    assert len(_claim(database)) == 1
    assert len(leaving(database)) == 2


def test_a_row_that_was_refused_is_taken_again_later(database: Database) -> None:
    """A refused row comes nearer to its dead letter, backs off and lets the others pass."""
    _put(database, 2)
    with database.begin() as tx:
        taken = outbox.claim(tx, 10, 60.0)
        first, second = sorted(taken.ids)
        outbox.retry(tx, Claim(taken.token, [first]), after=60.0)
        outbox.retry(tx, Claim(taken.token, [second]), after=0.0)
    assert [(row.id, row.attempts) for row in _claim(database)] == [(second, 2)]


def test_a_row_that_nobody_tried_keeps_its_place(database: Database) -> None:
    """After an outage what was due first leaves first, and nothing has come nearer to its dead letter."""
    _put(database, 3)
    with database.begin() as tx:
        outbox.release(tx, outbox.claim(tx, 2, 60.0))
    assert [(row.message_id, row.attempts) for row in _claim(database)] == [("0", 1), ("1", 1), ("2", 1)]


def _put_sized(database: Database, *sizes: int) -> None:
    with database.begin() as tx:
        outbox.put_rows(tx, [outbox.new_row("x", "k", {"message_id": str(size)}, bytes(size)) for size in sizes])


@pytest.mark.parametrize(
    ("sizes", "size", "taken"),
    [([400] * 5, 1000, 2), ([5000, 10], 1000, 1), ([10, 5000, 10], 1000, 1), ([1, 2, 3], 1000, 3)],
)
def test_a_claim_is_bounded_in_bytes(database: Database, sizes: list[int], size: int, taken: int) -> None:
    """However large messages are, a worker has few bytes of them in hand; one that is larger goes alone."""
    _put_sized(database, *sizes)
    with database.begin() as tx:
        assert len(outbox.claim(tx, 100, 60.0, size=size).ids) == taken


def test_a_row_in_doubt_is_claimed_alone(database: Database) -> None:
    """A row that was in hand when a worker died, or closed its connection, takes nothing else with it."""
    _put(database, 4)
    with database.begin() as tx:
        taken = outbox.claim(tx, 10, 60.0)
        outbox.retry_alone(tx, Claim(taken.token, [sorted(taken.ids)[1]]), after=-1.0)
        tx.execute(update(table).where(table.c.message_id != "1").values(claim_token=None, claim_until=None))
    assert [_names(_claim(database)) for _ in range(3)] == [["0"], ["1"], ["2", "3"]]


def test_a_claim_that_was_lost_reads_nothing(database: Database) -> None:
    """A worker that was frozen for long publishes nothing that another has taken over."""
    _put(database, 2)
    with database.begin() as tx:
        late: Claim = outbox.claim(tx, 1, -1.0)
        outbox.claim(tx, 2, 60.0)
        assert outbox.read(tx, late) == []


def test_a_late_word_frees_nothing_of_anothers(database: Database) -> None:
    """A worker that was frozen while another took over changes nothing of what that one has in hand."""
    _put(database, 1)
    with database.begin() as tx:
        late = outbox.claim(tx, 1, -1.0)
        outbox.claim(tx, 1, 60.0)
        outbox.release(tx, late)
        outbox.retry(tx, late, after=0.0)
    assert _claim(database) == []


def test_what_goes_elsewhere_can_be_claimed_beside_a_full_queue(database: Database) -> None:
    """A queue that is full keeps nothing back but what is for it."""
    _put(database, 2, "x", "full")
    _put(database, 1, "x", "free")
    with database.begin() as tx:
        taken = outbox.claim(tx, 10, 60.0, but=[("x", "full")])
        assert [row.routing_key for row in outbox.read(tx, taken)] == ["free"]


def _defer(database: Database, *partners: str, after: float = 0.0) -> None:
    rows = [
        (OutboxRow(0, name, 0, EXCHANGE_DEFERRED, "q", {"message_id": name}, b"{}", name), after) for name in partners
    ]
    with database.begin() as tx:
        outbox.defer(tx, rows)


def _next_deferred(database: Database, *but: str) -> list[str]:
    with database.begin() as tx:
        return _names(outbox.read(tx, outbox.claim_deferred(tx, 60.0, but=but)))


def test_deferred_messages_are_taken_one_by_one(database: Database) -> None:
    """Each at its time, and of partners that have none in hand; no relay publishes them."""
    _defer(database, "later", after=60.0)
    _defer(database, "msp-1", "msp-1", "msp-2")
    assert _claim(database) == []
    assert _next_deferred(database) == ["msp-1"]
    assert _next_deferred(database, "msp-1") == ["msp-2"]
    assert _next_deferred(database, "msp-1") == []
    assert _next_deferred(database) == ["msp-1"]
    assert _next_deferred(database) == []


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
        taken = outbox.claim(tx, 10, 60.0, only=("x", "quick"))
        assert [row.routing_key for row in outbox.read(tx, taken)] == ["quick"]
        assert outbox.due_keys(tx) == [("x", "slow")]
