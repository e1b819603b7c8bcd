"""Dead letters keep what happened unharmed, once, however often it happens."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from store import Database, dead_letter_queries, dead_letters, now, replays, schema
from store.dead_letter_queries import DeadLetterFilter, StoredDeadLetter
from store.dead_letters import DeadLetter
from tests.support.waiting import together

PROPERTIES: dict[str, Any] = {
    "message_id": "m-1",
    "timestamp": 1_700_000_000,
    "headers": {
        "odd": b"\x00\xff",
        "when": datetime.fromisoformat("2026-01-01"),
        "price": Decimal("1.5"),
        "in": {"x": [1, None]},
    },
}
LETTER = DeadLetter(
    id="00000000-0000-0000-0000-000000000001",
    queue="connectwise.push-requested.v1",
    body=b"\xff\x00 not text",
    properties=PROPERTIES,
    reason="contract",
    error="what is wrong: \0 \ud800",
    error_type="not_json",
    error_at="dispatch.py:_do",
    message_id="m-1\0\ud800" + "x" * 500,
    kind="k" * 500,
)


def add(database: Database, *letters: DeadLetter) -> None:
    """Keep these."""
    with database.begin() as tx:
        dead_letters.add(tx, *letters)


def kept(database: Database, letter: DeadLetter = LETTER) -> StoredDeadLetter:
    """All that is stored of one."""
    with database.begin() as tx:
        found = dead_letter_queries.get(tx, letter.id)
    assert found is not None
    return found


def numbered(number: int, **changes: Any) -> DeadLetter:
    """Another letter."""
    return replace(LETTER, id=f"00000000-0000-0000-0000-{number:012}", **changes)


def test_a_dead_letter_keeps_the_message_as_it_came(database: Database) -> None:
    """An operator sees and replays exactly what arrived, whatever bytes and headers it was made of."""
    add(database, LETTER)
    found = kept(database)
    assert (found.body, found.properties, found.queue) == (LETTER.body, PROPERTIES, LETTER.queue)
    assert (found.reason, found.state, found.error_at) == ("contract", "open", "dispatch.py:_do")
    assert found.error == "what is wrong: \\0 \\ud800"
    assert found.fingerprint == LETTER.fingerprint


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"body": b"other", "message_id": "m-2", "error": "other words"}, True),
        ({"reason": "crashed"}, False),
        ({"error_type": "KeyError"}, False),
        ({"error_at": "dispatch.py:_call"}, False),
    ],
)
def test_dead_letters_of_one_cause_share_a_fingerprint(changes: dict[str, str], *, same: bool) -> None:
    """A thousand messages that fail for one bug are one thing to look at."""
    assert (replace(LETTER, **changes).fingerprint == LETTER.fingerprint) == same  # type: ignore[arg-type]


def test_a_message_is_known_again_whatever_the_broker_adds() -> None:
    """A message that comes a second time, or comes back from a replay, is the same dead letter."""
    mine = dead_letters.id_of_message("q", PROPERTIES, b"body")
    added = {"x-death": [{"count": 1}], "x-delivery-count": 7, "phin-replay": f"{LETTER.id}/1"}
    again = PROPERTIES | {"headers": PROPERTIES["headers"] | added, "expiration": "10"}
    assert dead_letters.id_of_message("q", again, b"body") == mine
    others = [("p", PROPERTIES, b"body"), ("q", PROPERTIES, b"body."), ("q", PROPERTIES | {"app_id": "x"}, b"body")]
    assert mine not in {dead_letters.id_of_message(*other) for other in others}


def test_the_same_failure_twice_is_one_letter(database: Database) -> None:
    """A crash between commit and acknowledgement doubles nothing; that it failed again is counted."""
    add(database, LETTER, numbered(2))
    add(database, replace(LETTER, error="newer"))
    found = kept(database)
    assert (found.attempts, found.error, found.returns, found.history) == (2, "newer", 0, [])
    assert found.first_failed_at < found.last_failed_at
    with database.begin() as tx:
        assert dead_letters.count_by_reason(tx) == {"contract": 2}


def test_workers_that_add_the_same_letters_meet_without_harm(database: Database) -> None:
    """The same thousand failures seen by two workers in opposite order are a thousand letters."""
    letters = [numbered(number) for number in range(1, 201)]
    together(lambda: add(database, *letters), lambda: add(database, *reversed(letters)))
    with database.begin() as tx:
        assert dead_letters.count_by_reason(tx) == {"contract": 200}


def test_what_comes_back_after_a_replay_is_open_again_and_counted(database: Database) -> None:
    """An operator sees that a replay was in vain, how often, and what was done before."""
    add(database, LETTER)
    for number in (1, 2):
        with database.begin() as tx:
            replays.replay(tx, LETTER.id, by="ana", why="fixed")
        add(database, replace(LETTER, replay=(LETTER.id, number)))
    found = kept(database)
    assert (found.state, found.replays, found.returns) == ("open", 2, 2)
    assert [entry["what"] for entry in found.history] == ["replayed", "came back"] * 2
    assert found.history[0]["by"] == "ana"


def test_a_late_report_of_an_earlier_replay_opens_nothing(database: Database) -> None:
    """The first replay's failure is delivered once more while the second is on its way: that one alone decides."""
    add(database, LETTER)
    for number in (1, 2):
        with database.begin() as tx:
            replays.replay(tx, LETTER.id, by="ana", why=None)
        if number == 1:
            add(database, replace(LETTER, replay=(LETTER.id, 1)))
    add(database, replace(LETTER, replay=(LETTER.id, 1)))
    assert (kept(database).state, kept(database).returns) == ("replayed", 1)


def test_lines_that_come_back_as_a_message_are_the_same_letter(database: Database) -> None:
    """The replay of a push's lines that crashes the worker opens the letter of these lines, not another one."""
    add(database, LETTER)
    with database.begin() as tx:
        replays.replay(tx, LETTER.id, by="ana", why=None)
    add(database, numbered(2, reason="crashed", replay=(LETTER.id, 1)))
    assert (kept(database).state, kept(database).reason, kept(database).returns) == ("open", "crashed", 1)
    add(database, numbered(3, body=b"another", replay=(LETTER.id, 1)))
    assert kept(database).body == LETTER.body
    assert kept(database, numbered(3)).state == "open"


def test_filters_and_groups(database: Database) -> None:
    """`list` shows letters by partner, kind, reason, cause and time; `groups` shows causes by their number."""
    add(database, numbered(1, partner_id="p1", kind="a.v1"), numbered(2, partner_id="p2", kind="b.v1"))
    add(database, numbered(3, reason="crashed", error_type=None, error_at="", partner_id="p2", kind="b.v1"))
    with database.begin() as tx:
        at = now(tx)

        def count(**given: Any) -> int:
            return dead_letter_queries.count(tx, DeadLetterFilter(**given))

        assert [count(), count(partner_id="p2"), count(kind="a.v1"), count(reason="crashed")] == [3, 2, 1, 1]
        assert count(fingerprint=LETTER.fingerprint, partner_id="p2") == 1
        assert count(since=at - timedelta(minutes=1), until=at + timedelta(minutes=1)) == 3
        assert count(until=at - timedelta(minutes=1)) == count(since=at + timedelta(minutes=1)) == 0
        assert count(state="discarded") == 0
        first, second = dead_letter_queries.groups(tx, DeadLetterFilter(state="open"))
        assert (first.count, first.partners, first.kind, first.reason) == (2, 2, None, "contract")
        assert (second.count, second.partners, second.kind, second.reason) == (1, 1, "b.v1", "crashed")
        assert len(dead_letter_queries.ids_beginning_with(tx, "00000000")) == 2
        assert dead_letter_queries.ids_beginning_with(tx, numbered(3).id) == [numbered(3).id]
        newest = dead_letter_queries.newest(tx, DeadLetterFilter(), 2)
        assert [one.id for one in newest] == [numbered(3).id, numbered(2).id]
        oldest = dead_letter_queries.ids(tx, DeadLetterFilter())
        assert [one.id for one in dead_letter_queries.get_many(tx, oldest)] == [numbered(n).id for n in (1, 2, 3)]


def test_lines_after_discarded_ones_are_another_letter(database: Database) -> None:
    """A letter that was put away can be taken out again as it was, and is not replayed with what failed later."""
    with database.begin() as tx:
        first, _ = dead_letters.letter_of_lines(tx, "msp-1", "p-1", "exhausted")
        dead_letters.add(tx, replace(LETTER, id=first, body=b"A"))
        assert dead_letters.letter_of_lines(tx, "msp-1", "p-1", "exhausted") == (first, b"A")
        tx.execute(update(schema.dead_letters).values(state="discarded"))
        second, body = dead_letters.letter_of_lines(tx, "msp-1", "p-1", "exhausted")
    assert (second != first, body) == (True, None)


@pytest.mark.parametrize("text", [None, "what is"])
def test_pages_go_by_the_last_letter_seen(database: Database, text: str | None) -> None:
    """Letters that come or go while an operator turns pages neither repeat nor hide one; the number is of all."""
    add(database, *(numbered(number) for number in range(1, 6)))
    chosen = DeadLetterFilter(state="open", text=text)
    with database.begin() as tx:
        first, count = dead_letter_queries.page(tx, chosen, 2)
        replays.discard(tx, [first[0].id], by="ana", why="of a test")
        second, left = dead_letter_queries.page(tx, chosen, 2, (first[1].last_failed_at, first[1].id))
        last = dead_letter_queries.page(tx, chosen, 2, (second[1].last_failed_at, numbered(1).id))
        choices = dead_letter_queries.choices(tx, "open")
    assert [one.id for one in first + second] == [numbered(number).id for number in (5, 4, 3, 2)]
    assert (count, left, last) == (5, 4, ([], 4))
    assert choices == {"kind": ["k" * 255], "reason": ["contract"]}
