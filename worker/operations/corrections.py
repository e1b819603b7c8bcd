"""Correction of a dead letter whose body breaks the contract; the corrected one is held against it before it leaves."""

from messages import ContractError, decode
from store import Tx, replays
from store.amqp_properties import encoded_size
from store.dead_letter_queries import StoredDeadLetter
from worker.operations.letter_bodies import text_of
from worker.topology import KINDS


class NotCorrected(Exception):
    """The letter cannot be corrected, or not like this; the text says why."""


def why_not(letter: StoredDeadLetter) -> str | None:
    """The reason why a letter cannot be corrected; None = it can.

    What the contract takes is what its sender meant: only a body that breaks it is mended here.
    """
    if letter.state != "open":
        return f"it is not open, but {letter.state}"
    if letter.sealed_with is not None:
        return "it may hold a private key, which nobody is to read"
    if letter.reason != "contract":
        return "its body obeys the contract, so only its sender can say something else"
    if letter.exchange is not None or letter.queue not in KINDS:
        return "it names no queue of ours"
    if text_of(letter.body) is None:
        return "its body is no text"
    return None


def check(letter: StoredDeadLetter, body: bytes) -> None:
    """Hold a corrected body against the contract, with the properties that it is sent with. Raises NotCorrected."""
    reason = why_not(letter)
    if reason is not None:
        raise NotCorrected(reason)
    properties = letter.properties
    try:
        message = decode(
            body,
            type=properties.get("type"),
            content_type=properties.get("content_type"),
            properties_size=encoded_size(properties),
        )
    except ContractError as error:
        raise NotCorrected(str(error)) from None
    needed = KINDS[letter.queue]
    if message.type != needed:
        raise NotCorrected(f"its queue takes {needed}, not {message.type}")
    if letter.partner_id is not None and message.partner_id != letter.partner_id:
        raise NotCorrected(f"it is of partner {letter.partner_id}, and has to stay so")
    if body == letter.body:
        raise NotCorrected("nothing was changed")


def correct(tx: Tx, letter: StoredDeadLetter, body: bytes, *, by: str, why: str) -> None:
    """Check a body, and put it into the letter; the one that came is kept. Raises NotCorrected."""
    check(letter, body)
    if not replays.correct(tx, letter.id, body, before=letter.body, by=by, why=why):
        raise NotCorrected("it is not open any more, or somebody has corrected it meanwhile")
