"""Operators' actions on dead letters: stored as they go, so that everybody sees them and another process goes on."""

import json
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select, update

from store import Database, operation_claims, operation_queries, operations, replays
from store.database import db_now
from store.dead_letter_queries import DeadLetterFilter
from store.operation_claims import ClaimLost
from store.operation_queries import Operation
from store.replays import Replay
from store.schema import operations as table
from store.schema import outbox
from tests.integration.test_store_dead_letters import add, kept, numbered
from tests.support.waiting import wait_for
from worker.operations import conduct, replaying
from worker.operations.runner import OperationRunner

ALL = DeadLetterFilter(state="open")


def _letters(database: Database, count: int, **changes: Any) -> None:
    add(database, *(numbered(number, **changes) for number in range(1, count + 1)))


def _begin(database: Database, kind: Any = "replay", letters: DeadLetterFilter = ALL, **given: Any) -> Operation:
    with database.begin() as tx:
        terms = {"by": "ana", "why": "mended", "origin": "page"} | given
        return conduct.begin(tx, kind, letters, **terms)


def _find(database: Database, operation: Operation) -> Operation:
    with database.begin() as tx:
        return operation_queries.required(tx, operation.id)


def _carry_out(database: Database, operation: Operation, **given: Any) -> Operation:
    token = conduct.new_token()
    with database.begin() as tx:
        claimed = operation_claims.claim(tx, token, operation.id)
    assert claimed is not None
    conduct.carry_out(database, claimed, token, **given)
    return _find(database, operation)


class HandledAtOnce:
    """Stands for a worker that handles each replay when it was sent; those of `failing` letters come back."""

    def __init__(self, database: Database, *failing: int) -> None:
        self._database, self._failing, self.sent = database, {numbered(number).id for number in failing}, list[Replay]()

    def look(self, _operation: object = None) -> None:
        """Handle what has left since the last look."""
        with self._database.begin() as tx:
            properties = tx.execute(select(outbox.c.message_id)).scalars().all()
        for name in properties:
            letter_id, _, number = name.partition("/")
            again = Replay(letter_id, int(number))
            if again in self.sent:
                continue
            self.sent.append(again)
            with self._database.begin() as tx:
                if again.letter_id in self._failing:
                    replays.came_back(tx, again, b"", "crashed", "it is broken still")
                else:
                    replays.note(tx, again)


@pytest.fixture
def worker(database: Database, monkeypatch: pytest.MonkeyPatch) -> HandledAtOnce:
    """A worker by whom letter 4 fails; it looks whenever the replay does."""
    worker = HandledAtOnce(database, 4)
    _look = replaying.ReplayRun._look

    def look(run: replaying.ReplayRun, waiting: Any) -> None:
        worker.look()
        _look(run, waiting)

    monkeypatch.setattr(replaying.ReplayRun, "_look", look)
    return worker


def test_a_failing_replay_stops_by_itself(database: Database, worker: HandledAtOnce) -> None:
    """Of ten letters the first eight are sent in batches of 1, 2 and 5; one of them fails again, and two stay."""
    _letters(database, 10)
    seen: list[int] = []
    ended = _carry_out(database, _begin(database), report=lambda shown: seen.append(shown.done))
    assert (ended.state, ended.done, ended.came_back, ended.left) == ("stopped", 7, 1, 2)
    assert ended.stopped_why == "1 of 5 failed again, so no more are sent"
    assert seen == sorted(seen)
    with database.begin() as tx:
        assert operation_queries.problems(tx, ended.id) == [("came back", "crashed: it is broken still", 1)]
    assert [kept(database, numbered(number)).state for number in (1, 4, 9)] == ["replayed", "open", "open"]
    assert {name: getattr(ended, name) for name in ("begun_by", "why", "partner_id")} == {
        "begun_by": "ana",
        "why": "mended",
        "partner_id": None,
    }


def test_another_process_goes_on_where_one_was_killed(database: Database, worker: HandledAtOnce) -> None:
    """A page that ends in the middle of a batch has sent nothing twice, and the next page finishes the rest."""
    _letters(database, 3)
    operation, token = _begin(database), conduct.new_token()

    class Killed(Exception):
        pass

    def die(_operation: object) -> None:
        raise Killed

    with database.begin() as tx:
        claimed = operation_claims.claim(tx, token)
    assert claimed is not None
    with pytest.raises(Killed):
        conduct.carry_out(database, claimed, token, die)
    assert not _find(database, operation).interrupted
    with database.begin() as tx:
        tx.execute(update(table).values(claim_until=db_now(-1)))
    assert _find(database, operation).interrupted

    with OperationRunner(database, Event()):
        ended = wait_for(lambda: found if (found := _find(database, operation)).state != "running" else None, "its end")
    assert ended is not None
    assert (ended.state, ended.done, ended.left) == ("ended", 3, 0)
    assert [again.number for again in worker.sent] == [1, 1, 1]
    with pytest.raises(ClaimLost):
        conduct.carry_out(database, claimed, token)


def test_a_command_that_was_killed_is_shown_as_interrupted(database: Database, worker: HandledAtOnce) -> None:
    """Pages do not go on with what somebody ended at a terminal, until an operator says so; then in small batches."""
    _letters(database, 3)
    operation = _begin(database, origin="command", token="of the command")
    with database.begin() as tx:
        assert not operations.go_on(tx, operation.id, "bob")
        tx.execute(update(table).values(claim_until=db_now(-1), step=7))
    assert _find(database, operation).interrupted
    with database.begin() as tx:
        assert operation_claims.claim(tx, "of a page") is None
        assert operations.go_on(tx, operation.id, "bob")
    ended = _carry_out(database, operation)
    assert (ended.state, ended.done, ended.step) == ("ended", 3, 2)
    assert [(entry["what"], entry["by"]) for entry in ended.history] == [("continued", "bob")]


def test_anybody_can_stop_it(database: Database, worker: HandledAtOnce) -> None:
    """Letters that were sent are waited for, the rest stays open, and the operation tells who stopped it."""
    _letters(database, 9)
    operation = _begin(database)

    def stop(_operation: object) -> None:
        with database.begin() as tx:
            operations.ask_to_stop(tx, operation.id, "bob")

    ended = _carry_out(database, operation, report=stop)
    assert (ended.state, ended.stopped_why, ended.done, ended.left) == ("stopped", "bob stopped it", 1, 8)


def test_what_cannot_be_done_is_refused_with_its_reason(database: Database, worker: HandledAtOnce) -> None:
    """A selection may hold letters that are not open any more, that name no queue, or are too large: each is told."""
    add(database, numbered(1), numbered(2), numbered(3, queue="of somebody else"))
    add(database, numbered(5, properties={"headers": {"big": "x" * 70_000}}))
    with database.begin() as tx:
        replays.discard(tx, [numbered(2).id], by="bob", why="of a test")
    chosen = DeadLetterFilter(ids=tuple(numbered(number).id for number in (1, 2, 3, 5)))
    ended = _carry_out(database, _begin(database, letters=chosen))
    assert (ended.state, ended.done, ended.refused) == ("ended", 1, 3)
    with database.begin() as tx:
        assert operation_queries.problems(tx, ended.id) == [
            ("refused", "it is not open, but discarded", 1),
            ("refused", "it names no queue of ours", 1),
            ("refused", "its AMQP properties are too large", 1),
        ]


def test_a_replay_that_nobody_handles_stops(database: Database) -> None:
    """Without a worker a replay does not go on sending; later it can go on, and waits for those first."""
    _letters(database, 3)
    ended = _carry_out(database, _begin(database, batch_seconds=0.3))
    assert (ended.state, ended.sent, ended.left) == ("stopped", 1, 2)
    assert ended.stopped_why == "1 of 1 were not handled within 0.3 s, so no more are sent"
    HandledAtOnce(database).look()
    with database.begin() as tx:
        assert operations.go_on(tx, ended.id, "ana")
    again = _carry_out(database, ended)
    assert (again.done, again.sent, again.left) == (1, 1, 1)


def test_a_replay_whose_last_letters_nobody_handles_has_not_succeeded(database: Database) -> None:
    """The end of a replay without a worker does not look as if its letters were dealt with."""
    _letters(database, 1)
    ended = _carry_out(database, _begin(database, batch_seconds=0.3))
    assert (ended.state, ended.sent, ended.left) == ("stopped", 1, 0)
    assert ended.stopped_why == "1 of 1 were not handled within 0.3 s"
    HandledAtOnce(database).look()
    with database.begin() as tx:
        assert operations.go_on(tx, ended.id, "ana")
    again = _carry_out(database, ended)
    assert (again.state, again.done, again.sent) == ("ended", 1, 0)


def test_thousands_are_discarded_and_all_of_them_restored(database: Database) -> None:
    """A group that was discarded by mistake is restored as a whole, but for letters that have changed since."""
    _letters(database, 1201)
    discarded = _carry_out(database, _begin(database, "discard", why="sent by a test"))
    assert (discarded.state, discarded.done, discarded.chosen) == ("ended", 1201, {"state": "open"})
    add(database, numbered(7))
    restored = _carry_out(database, _begin(database, "restore", DeadLetterFilter(operation=discarded.id)))
    assert (restored.done, restored.refused) == (1200, 1)
    entry = kept(database, numbered(9)).history[0]
    assert (entry["what"], entry["by"], entry["why"]) == ("discarded", "ana", "sent by a test")
    assert [entry["what"] for entry in kept(database, numbered(9)).history] == ["discarded", "restored"]


def test_the_end_of_the_pages_interrupts_nothing(database: Database) -> None:
    """A process of pages that is told to stop lets its operation go, for the next one to go on at once."""
    _letters(database, 3)
    operation, token, stop = _begin(database), conduct.new_token(), Event()
    stop.set()
    with database.begin() as tx:
        claimed = operation_claims.claim(tx, token)
        assert claimed is not None
        assert operation_claims.claim(tx, "another") is None
    conduct.carry_out(database, claimed, token, stop=stop)
    with database.begin() as tx:
        operation_claims.let_go(tx, operation.id, token)
        assert operation_claims.claim(tx, "another") is not None
    assert _find(database, operation).left == 3


def test_actions_without_dead_letters_are_kept_too(database: Database) -> None:
    """The pauses of a partner, with their reasons, stand beside replays, newest first, and can be asked for."""
    _letters(database, 1)
    _begin(database)
    with database.begin() as tx:
        operations.note(tx, "pause", by="ana", why="asked by them", origin="command", partner_id="p1")
        operations.note(tx, "resume", by="ana", why=None, origin="page", partner_id="p1", refused="it was not paused")
        newest = operation_queries.newest(tx, 10)
        rest = operation_queries.newest(tx, 10, before=(newest[0].begun_at, newest[0].id))
        mine = operation_queries.newest(tx, 10, partner_id="p1")
        running = operation_queries.running(tx)
    assert [one.kind for one in newest] == ["resume", "pause", "replay"]
    assert rest == newest[1:]
    assert mine == newest[:2]
    assert (newest[0].refused, newest[0].stopped_why, newest[1].done) == (1, "it was not paused", 1)
    assert [one.kind for one in running] == ["replay"]


def test_the_choice_is_kept_as_it_was_made(database: Database) -> None:
    """The list of actions says what each was for, also when ids were chosen by the hundred."""
    letters = DeadLetterFilter(partner_id="p1", reason="exhausted", text="away", state="open")
    assert operations.chosen_by(letters) == {
        "partner_id": "p1",
        "reason": "exhausted",
        "text": "away",
        "state": "open",
    }
    few, many = (DeadLetterFilter(ids=tuple(f"{number}" for number in range(count))) for count in (2, 200))
    assert operations.chosen_by(few) == {"ids": ["0", "1"]}
    assert json.dumps(operations.chosen_by(replace(many, state="open"))) == '{"state": "open", "number_of_ids": 200}'
