"""A dead letter is made of a delivery that a worker or the broker gave up, or of a row that cannot be published."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from messages import ContractError, KeyRing, decode
from messages.sealing import seal_bytes, unseal_bytes
from store import Tx, dead_letters, outbox, replays
from store.dead_letters import DeadLetter
from store.outbox import OutboxRow
from store.replays import SEALED_WITH, replay_of
from worker.messaging.broker import Delivery
from worker.topology import DELIVERY_LIMIT, queue_of

QUEUE_OF_KEYS = queue_of("connection.changed.v1")
# The platform must not send a private key unsealed, but may by mistake.
_SPEAKS_OF_KEYS = (b"connection.changed", b"private_key")

UNPUBLISHABLE = "unpublishable"

BROKER_REASONS = {
    "delivery_limit": f"RabbitMQ gave it up: it was delivered {DELIVERY_LIMIT + 1} times and never settled",
    "expired": "RabbitMQ gave it up: its time to live was over before a worker took it",
    "maxlen": "RabbitMQ gave it up: its queue was full",
    "rejected": "somebody who consumed it rejected it",
}
"""The meaning of each reason in RabbitMQ's x-death header."""

log = structlog.get_logger()


@dataclass(frozen=True)
class DeadLetters:
    """Makes dead letters. `prefix` is what the broker has before the names of our queues."""

    keys: KeyRing
    prefix: str = ""

    def of(
        self,
        delivery: Delivery,
        reason: str,
        error: str,
        *,
        partner_id: str | None = None,
        error_type: str | None = None,
        error_at: str = "",
        attempts: int = 1,
    ) -> DeadLetter:
        """Make a dead letter of a delivery; a body that may hold a private key is sealed to our own key."""
        kind, again = delivery.properties.get("type"), replay_of(delivery.properties)
        letter = DeadLetter(
            id=dead_letters.id_of_message(delivery.queue, delivery.properties, delivery.body),
            queue=delivery.queue,
            body=delivery.body,
            properties=delivery.properties,
            reason=reason,
            error=error,
            error_type=error_type,
            error_at=error_at,
            partner_id=partner_id,
            message_id=delivery.message_id,
            kind=kind if isinstance(kind, str) else delivery.kind,
            attempts=attempts,
            replay=(again.letter_id, again.number) if again else None,
        )
        if not _may_hold_keys(letter.kind, letter.queue, letter.body):
            return letter
        key = self.keys.seal_key
        return replace(letter, body=seal_bytes(letter.body, key), sealed_with=key.key_id)

    def of_broker(self, delivery: Delivery) -> DeadLetter:
        """Make a dead letter of a delivery from the dead-letter queue, by the newest entry of its x-death header."""
        death = _last_death(delivery.properties)
        queue = str(death.get("queue") or "").removeprefix(self.prefix)
        reason = death.get("reason")
        known = reason if isinstance(reason, str) and reason in BROKER_REASONS else "unknown"
        count = death.get("count")
        deaths = count if isinstance(count, int) and count > 0 else 1
        return self.of(
            replace(delivery, queue=queue, kind=""),
            known,
            BROKER_REASONS.get(known, "it came to the queue of the dead without a reason that is known here"),
            partner_id=None if delivery.redelivered else _partner_of(delivery.body),
            attempts=deaths * (DELIVERY_LIMIT + 1 if known == "delivery_limit" else 1),
        )

    def sealed(self, row: OutboxRow) -> OutboxRow:
        """Return a row as it may be stored: a body that may hold a private key is sealed."""
        if not _may_hold_keys(None, row.routing_key, row.body):
            return row
        key = self.keys.seal_key
        return replace(row, properties={**row.properties, SEALED_WITH: key.key_id}, body=seal_bytes(row.body, key))

    def unsealed(self, row: OutboxRow) -> OutboxRow:
        """Return a row as it is published. Raises a SealError if its body is sealed to a key that is missing."""
        key_id = row.properties.get(SEALED_WITH)
        if key_id is None:
            return row
        sent = {name: value for name, value in row.properties.items() if name != SEALED_WITH}
        return replace(row, properties=sent, body=unseal_bytes(row.body, key_id, self.keys))


def dead_letter_row(tx: Tx, row: OutboxRow, why: str) -> None:
    """Delete a row that cannot be published, and make a dead letter of it, or reopen the letter that it replays.

    `row` is as it is stored, so a sealed body stays sealed.
    """
    log.warning("message.dead", reason=UNPUBLISHABLE, message_id=row.message_id, error=why)
    replay = replays.replay_of(row.properties)
    if replay is None or not replays.came_back(tx, replay, row.body, UNPUBLISHABLE, why):
        dead_letters.add(tx, _unpublishable(row, why))
    outbox.delete(tx, [row.id])


def first_own_frame(error: Exception) -> str:
    """Return file:function of the deepest frame of ours, which tells one bug from another."""
    ours = Path(__file__).parents[2]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(ours)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""


def _may_hold_keys(kind: str | None, queue: str, body: bytes) -> bool:
    named = (kind or "").startswith("connection.changed") or queue == QUEUE_OF_KEYS
    return named or any(words in body for words in _SPEAKS_OF_KEYS)


def _last_death(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    deaths = (properties.get("headers") or {}).get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, dict) else {}


def _partner_of(body: bytes) -> str | None:
    """Return the partner of a message. None = it cannot be read."""
    try:
        return decode(body, type=None, content_type=None).partner_id
    except ContractError as error:
        return error.partner_id


def _unpublishable(row: OutboxRow, why: str) -> DeadLetter:
    properties = {name: value for name, value in row.properties.items() if name != SEALED_WITH}
    return DeadLetter(
        id=dead_letters.id_of_message(row.routing_key, properties, row.body, row.exchange),
        exchange=row.exchange,
        queue=row.routing_key,
        body=row.body,
        properties=properties,
        sealed_with=row.properties.get(SEALED_WITH),
        reason=UNPUBLISHABLE,
        error=why,
        partner_id=_partner_of(row.body),
        message_id=row.message_id,
        kind=row.properties.get("type"),
        attempts=row.attempts,
    )
