"""Messages that are none of the contract: kept as dead letters, and answered if they ask for lines."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from messages import ContractError, PushCompleted, derived_id
from store import Tx, dead_letters, outbox, pushes
from store.dead_letters import DeadLetter
from worker.dead_letters import DeadLetters
from worker.delivery import Delivery
from worker.problems import problem

Refusal = tuple[Delivery, ContractError]

# Of these a `push.completed` is awaited, also if they cannot be accepted.
ANSWERED = frozenset({"push.requested.v1", "revert.requested.v1"})

EPOCH = datetime.fromtimestamp(0, UTC)


def refuse(tx: Tx, letters: DeadLetters, refused: Sequence[Refusal]) -> list[DeadLetter]:
    """Keep these, and of a push that can be addressed say that it was refused."""
    made = [
        letters.of(delivery, "contract", str(error), partner_id=error.partner_id, error_type=error.reason)
        for delivery, error in refused
    ]
    dead_letters.add(tx, *made)
    for delivery, error in refused:
        _answer(tx, delivery, error)
    return made


def _answer(tx: Tx, delivery: Delivery, error: ContractError) -> None:
    """Tell the platform, unless the push is known or cannot be addressed."""
    if error.type not in ANSWERED or error.partner_id is None or error.push_id is None:
        return
    if pushes.find(tx, error.partner_id, error.push_id) is not None:
        return
    digest = hashlib.sha256(delivery.body).hexdigest()
    answer_id = derived_id(EPOCH, "push.refused", error.partner_id, error.push_id, digest)
    refused = PushCompleted(
        id=answer_id,
        partner_id=error.partner_id,
        # Not the push's id, which may be too long for AMQP's property.
        correlation_id=error.correlation_id or str(answer_id),
        push_id=error.push_id,
        status="refused",
        problem=problem("contract", reason=error.detail),
    )
    outbox.put(tx, refused)
