"""An operator reads a dead letter's body as it was sent, and no private key in it."""

from datetime import UTC, datetime

import pytest

from messages import KeyRing, generate_keypair
from messages.sealing import seal_bytes
from store.dead_letter_queries import StoredDeadLetter
from worker.operations.letter_bodies import body_lines

KEYS = KeyRing.parse(generate_keypair().private)


def _letter(body: bytes, sealed_with: str | None = None) -> StoredDeadLetter:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return StoredDeadLetter(
        id="1",
        partner_id=None,
        message_id=None,
        kind=None,
        queue="q",
        exchange=None,
        reason="contract",
        error="",
        error_type=None,
        error_at="",
        fingerprint="",
        attempts=1,
        first_failed_at=at,
        last_failed_at=at,
        state="open",
        replays=0,
        returns=0,
        applied=0,
        properties={},
        body=body,
        sealed_with=sealed_with,
        history=[],
    )


@pytest.mark.parametrize("number", ["12345678901234567890123", "0.10", "1e999", "-0", "1E5", "1" * 5000, "NaN"])
def test_numbers_are_shown_as_they_were_sent(number: str) -> None:
    """A quantity in a message is seen exactly: not rounded, and not in another form."""
    assert body_lines(_letter(f'{{"quantity":{number}}}'.encode()), KEYS) == ["{", f'  "quantity": {number}', "}"]


def test_a_body_is_shown_whole_and_in_its_order() -> None:
    """Fields stand in the order of the sender, one that is there twice is there twice, and nothing is cut."""
    body = '{"b":1,"a":["ä",{},[],null,true],"b":2}'.encode()
    assert "".join(line.strip() for line in body_lines(_letter(body), KEYS)) == (
        '{"b": 1,"a": ["ä",{},[],null,true],"b": 2}'
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [(b"<xml>\n</xml>", "<xml>"), (b"\xff\x00", "00000000  ff 00"), (b"", ""), (b"[" * 100_000, "[[[")],
)
def test_other_bodies_are_shown_too(body: bytes, shown: str) -> None:
    """A body that is no JSON is seen as text, or its bytes."""
    assert "".join(body_lines(_letter(body), KEYS)).startswith(shown)


def test_a_body_that_may_hold_a_key_is_masked() -> None:
    """Its fields are seen, and of their values only those that are never secret."""
    body = b'{"type":"connection.changed.v1","sealed_private_key":{"box":"c2VjcmV0"},"n":42,"ok":true}'
    key = KEYS.seal_key
    shown = "\n".join(body_lines(_letter(seal_bytes(body, key), key.key_id), KEYS))
    assert '"type": "connection.changed.v1"' in shown
    assert '"box": "•••"' in shown
    assert '"n": "•••"' in shown
    assert "c2VjcmV0" not in shown
