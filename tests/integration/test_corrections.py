"""A message that breaks the contract is mended by an operator: checked before it leaves; the one that came is kept."""

import json
from dataclasses import replace
from typing import Any

import pytest

from messages import PushCancelRequested, encode
from store import Database, dead_letters, outbox, replays
from store.dead_letters import DeadLetter
from store.replays import Replay
from tests.integration.test_store_dead_letters import add, kept
from tests.support.samples import minute
from tests.support.store import claimed
from worker.operations import corrections
from worker.operations.corrections import NotCorrected
from worker.topology import queue_of

KIND = "push.cancel_requested.v1"
EVENT = PushCancelRequested(
    partner_id="p1", correlation_id="c", push_id="push-1", requested_at=minute(1), requested_by="ana"
)
RIGHT = encode(EVENT).body
WRONG = RIGHT.replace(b'"push_id":"push-1"', b'"push_id":17')
PROPERTIES = outbox.properties_of(encode(EVENT))
LETTER = DeadLetter(
    id=dead_letters.id_of_message(queue_of(KIND), PROPERTIES, WRONG),
    queue=queue_of(KIND),
    body=WRONG,
    properties=PROPERTIES,
    reason="contract",
    error="invalid: push_id: Input should be a valid string",
    partner_id="p1",
    kind=KIND,
)


def _correct(database: Database, body: bytes) -> None:
    letter = kept(database, LETTER)
    with database.begin() as tx:
        corrections.correct(tx, letter, body, by="ana", why="the id was a number")


def test_a_corrected_body_leaves_and_the_one_that_came_is_kept(database: Database) -> None:
    """The worker gets the mended message under the letter's replay; the letter shows both, who changed it and why."""
    add(database, LETTER)
    _correct(database, RIGHT)
    with database.begin() as tx:
        assert replays.replay(tx, LETTER.id, by="ana", why=None) == Replay(LETTER.id, 1)
        (row,) = claimed(tx)
        (original,) = replays.originals(tx, LETTER.id)
    assert row.body == RIGHT
    assert (original.body, original.number, original.corrected_by) == (WRONG, 1, "ana")
    entry = kept(database, LETTER).history[0]
    assert (entry["what"], entry["by"], entry["why"]) == ("corrected", "ana", "the id was a number")


def test_a_corrected_message_that_fails_again_comes_back_to_its_letter(database: Database) -> None:
    """No second letter is made of it: the first one is open again, and says that it came back."""
    add(database, LETTER)
    _correct(database, RIGHT)
    with database.begin() as tx:
        replays.replay(tx, LETTER.id, by="ana", why=None)
    again = dead_letters.id_of_message(LETTER.queue, PROPERTIES, RIGHT)
    add(database, replace(LETTER, id=again, body=RIGHT, reason="crashed", replay=(LETTER.id, 1)))
    found = kept(database, LETTER)
    assert (found.state, found.returns, found.reason, found.body) == ("open", 1, "crashed", RIGHT)


def _with(**fields: Any) -> bytes:
    return json.dumps(json.loads(RIGHT) | fields).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (WRONG.replace(b"17", b"18"), "invalid: push_id"),
        (b"{", "not_json"),
        (_with(partner_id="p2"), "it is of partner p1, and has to stay so"),
        (_with(type="push.requested.v1"), "type_mismatch"),
        (_with(confirm_all=True, pushId="x"), "invalid"),
        (WRONG, "invalid"),
    ],
)
def test_what_would_fail_again_does_not_leave(database: Database, body: bytes, why: str) -> None:
    """A mistake in a correction is told at once, with the contract's own words, and changes nothing."""
    add(database, LETTER)
    with pytest.raises(NotCorrected, match=why):
        _correct(database, body)
    assert (kept(database, LETTER).body, kept(database, LETTER).history) == (WRONG, [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reason": "exhausted"}, "only its sender"),
        ({"sealed_with": "k1"}, "private key"),
        ({"queue": "of somebody"}, "no queue of ours"),
        ({"body": b"\xff"}, "no text"),
    ],
)
def test_only_what_breaks_the_contract_is_corrected(database: Database, change: dict[str, Any], why: str) -> None:
    """Nobody changes a proper request of a sender, or reads a letter that may hold a private key."""
    add(database, replace(LETTER, **change))
    with pytest.raises(NotCorrected, match=why):
        _correct(database, RIGHT)
