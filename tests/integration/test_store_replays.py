"""A replay leaves exactly once, as the message was sent; what an operator does is kept with the letter."""

from dataclasses import replace

import pytest

from store import Database, dead_letter_queries, replays
from store.amqp_properties import as_sent
from store.dead_letter_queries import DeadLetterFilter
from store.outbox import OutboxRow
from store.replays import Noted, Replay
from tests.integration.test_store_dead_letters import LETTER, PROPERTIES, add, kept
from tests.support.store import claimed
from worker.messaging.dead_letters import dead_letter_row

ADDED = {"x-death": [{"count": 1}], "x-delivery-count": 4, "phin-replay": f"{LETTER.id}/1"}


def _replay(database: Database, letter_id: str = LETTER.id) -> Replay | None:
    with database.begin() as tx:
        return replays.replay(tx, letter_id, by="ana", why="fixed")


def _leaving(database: Database) -> list[OutboxRow]:
    with database.begin() as tx:
        return claimed(tx)


def _note(database: Database, replay: Replay) -> Noted:
    with database.begin() as tx:
        return replays.note(tx, replay)


def test_a_replay_leaves_as_the_message_was_sent(database: Database) -> None:
    """To its queue alone, with the sender's bytes, properties and headers, none of the broker's, and its number."""
    add(database, replace(LETTER, properties=PROPERTIES | {"headers": PROPERTIES["headers"] | ADDED}))
    assert _replay(database) == Replay(LETTER.id, 1)
    (row,) = _leaving(database)
    assert (row.exchange, row.routing_key, row.body) == ("", LETTER.queue, LETTER.body)
    assert as_sent(row.properties) == PROPERTIES
    assert replays.replay_of(row.properties) == Replay(LETTER.id, 1)
    found = kept(database)
    assert (found.state, found.replays) == ("replayed", 1)
    assert {name: found.history[0][name] for name in ("what", "by", "why")} == {
        "what": "replayed",
        "by": "ana",
        "why": "fixed",
    }


def test_what_could_not_be_published_goes_to_its_exchange(database: Database) -> None:
    """A result that no queue took goes the way it should have gone."""
    add(database, replace(LETTER, exchange="connectwise.sync", queue="sync.result.v1"))
    _replay(database)
    assert [(row.exchange, row.routing_key) for row in _leaving(database)] == [("connectwise.sync", "sync.result.v1")]


def test_what_no_worker_would_take_again_does_not_leave(database: Database) -> None:
    """Properties over the limit are refused before the broker sees them; the letter stays open for an export."""
    add(database, replace(LETTER, properties=PROPERTIES | {"headers": {"big": "x" * 70_000}}))
    with pytest.raises(replays.TooLarge):
        _replay(database)
    assert kept(database).state == "open"
    assert _leaving(database) == []


def test_only_what_is_open_is_replayed(database: Database) -> None:
    """Two operators who replay the same letter send it once."""
    add(database, LETTER)
    assert _replay(database) is not None
    assert _replay(database) is None
    assert _replay(database, "no such letter") is None
    assert len(_leaving(database)) == 1


def test_a_replay_is_noted_once(database: Database) -> None:
    """A replay that the broker delivers twice is known the second time; a number that was never sent means nothing."""
    add(database, LETTER)
    _replay(database)
    assert [_note(database, Replay(LETTER.id, 1)) for _ in range(2)] == [Noted.NOW, Noted.BEFORE]
    assert _note(database, Replay(LETTER.id, 2)) is Noted.UNKNOWN
    assert _note(database, Replay("no such letter", 1)) is Noted.UNKNOWN


@pytest.mark.parametrize("header", [None, 5, b"x", "", "x/1", LETTER.id, f"{LETTER.id}/0", f"{LETTER.id}/1\n"])
def test_a_header_that_is_not_ours_means_nothing(header: object) -> None:
    """A sender of such a header gets what he would get without it."""
    assert replays.replay_of({"headers": {"phin-replay": header}}) is None
    assert replays.replay_of({"headers": None}) is None


def test_a_replay_that_cannot_leave_is_back(database: Database) -> None:
    """A replay that no queue takes does not vanish: its letter is open again and says why."""
    add(database, LETTER)
    replay = _replay(database)
    assert replay is not None
    for _ in range(2):
        with database.begin() as tx:
            assert replays.came_back(tx, replay, LETTER.body, "unpublishable", "no queue takes it")
    found = kept(database)
    assert (found.state, found.returns, found.reason, found.error) == ("open", 1, "unpublishable", "no queue takes it")


def test_a_replay_that_cannot_leave_does_not_vanish_under_other_lines(database: Database) -> None:
    """Other lines of the push are given up while some are replayed: those become a letter of their own."""
    add(database, LETTER)
    _replay(database)
    add(database, replace(LETTER, body=b"other lines"))
    (row,) = _leaving(database)
    with database.begin() as tx:
        dead_letter_row(tx, row, "no queue takes it")
        letters = dead_letter_queries.get_many(tx, dead_letter_queries.ids(tx, DeadLetterFilter()))
    assert sorted(letter.body for letter in letters) == sorted([LETTER.body, b"other lines"])
    assert {letter.state for letter in letters} == {"open"}


def test_discarded_letters_can_be_restored(database: Database) -> None:
    """A letter tells who discarded it, and why; a mistake can be undone; a letter that fails again opens by itself."""
    add(database, LETTER)
    with database.begin() as tx:
        assert not replays.restore(tx, [LETTER.id], by="ana", why=None)
        assert replays.discard(tx, [LETTER.id], by="ana", why="of a test")
        assert not replays.discard(tx, [LETTER.id], by="ana", why="of a test")
    assert _replay(database) is None
    with database.begin() as tx:
        assert replays.restore(tx, [LETTER.id], by="bob", why=None)
        assert replays.discard(tx, [LETTER.id], by="ana", why="of a test")
    add(database, LETTER)
    found = kept(database)
    assert (found.state, found.returns) == ("open", 0)
    assert [(entry["what"], entry.get("by")) for entry in found.history] == [
        ("discarded", "ana"),
        ("restored", "bob"),
        ("discarded", "ana"),
    ]
