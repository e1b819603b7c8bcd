"""A message in hand is counted before it is handled, so that poison is found out."""

from store import Database, redeliveries
from tests.support.waiting import together


def _take(database: Database, key: str = "m-1", queue: str = "q") -> int:
    with database.begin() as tx:
        return redeliveries.count_attempt(tx, queue, key)


def test_each_try_of_a_message_is_counted(database: Database) -> None:
    """A message that kills its worker is recognised at its third try, and does not take innocents with it."""
    assert [_take(database), _take(database), _take(database)] == [1, 2, 3]
    assert _take(database, "m-2") == 1
    assert _take(database, queue="another") == 1


def test_messages_handled_together_are_suspects_once_a_worker_died_with_them(database: Database) -> None:
    """Of a batch those are new that no worker died with; and however often a suspect waits in one, it is not a try."""
    for new in ({"m-1", "m-2"}, {"m-3"}, set[str]()):
        with database.begin() as tx:
            assert redeliveries.note_new(tx, "q", *sorted({"m-1", "m-2"} | new)) == new
    assert [_take(database), _take(database)] == [2, 3]
    with database.begin() as tx:
        redeliveries.forget(tx, "q", "m-2")
        assert redeliveries.note_new(tx, "q", "m-1", "m-2") == {"m-2"}


def test_tries_at_one_moment_are_all_counted(database: Database) -> None:
    """Two workers that get the same message do not count as one try."""
    assert sorted(together(*[lambda: _take(database)] * 4)) == [1, 2, 3, 4]


def test_a_message_that_is_done_is_out_of_hand(database: Database) -> None:
    """A message that succeeded at last starts afresh if its id comes again."""
    _take(database)
    _take(database, "m-2")
    with database.begin() as tx:
        redeliveries.forget(tx, "q", "m-1")
    assert _take(database) == 1
    assert _take(database, "m-2") == 2
