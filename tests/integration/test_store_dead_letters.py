"""Dead letters keep what happened unharmed; what is in hand is counted before it is handled."""

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from store import Database, dead_letters
from store.dead_letters import DeadLetter
from store.schema import dead_letters as table
from tests.support.waiting import together

LETTER = DeadLetter(
    queue="connectwise.push.requested.v1",
    body=b"\xff\x00 not text",
    properties={"message_id": "m-1", "headers": {"odd": b"\x00"}},
    reason="contract",
    error="what is wrong: \0",
    error_type="ContractError",
    error_at="dispatch.py:10",
    message_id="m-1\0" + "x" * 500,
    kind="k" * 500,
)


def _in_hand(database: Database, key: str = "m-1", queue: str = "q") -> int:
    with database.begin() as tx:
        return dead_letters.take_in_hand(tx, queue, key)


def test_a_dead_letter_keeps_the_message_as_it_came(database: Database) -> None:
    """An operator sees and replays exactly what arrived, whatever bytes it was made of."""
    with database.begin() as tx:
        letter_id = dead_letters.add(tx, LETTER)
        row = tx.execute(select(table).where(table.c.id == letter_id)).one()
    assert (row.body, row.queue, row.reason, row.state) == (LETTER.body, LETTER.queue, "contract", "open")
    assert row.error == "what is wrong: \\0"
    assert row.fingerprint == LETTER.fingerprint


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"body": b"other", "message_id": "m-2", "error": "other words"}, True),
        ({"reason": "crashed"}, False),
        ({"error_type": "KeyError"}, False),
        ({"error_at": "dispatch.py:11"}, False),
    ],
)
def test_dead_letters_of_one_cause_share_a_fingerprint(changes: dict[str, str], *, same: bool) -> None:
    """A thousand messages that fail for one bug are one thing to look at."""
    assert (replace(LETTER, **changes).fingerprint == LETTER.fingerprint) == same  # type: ignore[arg-type]


def test_open_dead_letters_are_counted_by_reason(database: Database) -> None:
    """The number that an alert looks at goes down when the letters are dealt with."""
    with database.begin() as tx:
        done = dead_letters.add(tx, LETTER)
        for reason in ("contract", "crashed", "crashed"):
            dead_letters.add(tx, replace(LETTER, reason=reason))
        tx.execute(update(table).where(table.c.id == done).values(state="replayed"))
        assert dead_letters.count_by_reason(tx) == {"contract": 1, "crashed": 2}


def test_each_try_of_a_message_is_counted(database: Database) -> None:
    """A message that kills its worker is recognised at its third try, and does not take innocents with it."""
    assert [_in_hand(database), _in_hand(database), _in_hand(database)] == [1, 2, 3]
    assert _in_hand(database, "m-2") == 1
    assert _in_hand(database, queue="another") == 1


def test_tries_at_one_moment_are_all_counted(database: Database) -> None:
    """Two workers that get the same message do not count as one try."""
    assert sorted(together(*[lambda: _in_hand(database)] * 4)) == [1, 2, 3, 4]


def test_a_message_that_is_done_is_out_of_hand(database: Database) -> None:
    """A message that succeeded at last starts afresh if its id comes again."""
    _in_hand(database)
    _in_hand(database, "m-2")
    with database.begin() as tx:
        dead_letters.out_of_hand(tx, "q", "m-1")
    assert _in_hand(database) == 1
    assert _in_hand(database, "m-2") == 2
