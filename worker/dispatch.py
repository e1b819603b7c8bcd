"""From raw bytes to a handler, and from what happens there to a verdict. Nothing that arrives ends the worker."""

import hashlib
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import structlog

from messages import KINDS, ContractError, Message, PushCompleted, decode, derived_id
from store import StoreConflict, StoreUnavailable, dead_letters, outbox, pushes
from store.dead_letters import DeadLetter
from worker import problems
from worker.delivery import Delivery, Verdict
from worker.handlers import BATCH_HANDLERS, HANDLERS, Context, Refused

TRIES = 3
CONFLICTS = 5
FAILED_PAUSE = 1.0
STORE_PAUSE_FIRST, STORE_PAUSE_MOST = 0.2, 5.0
# A wake-up carries no data and a run takes long, so these are not made to take turns.
NOT_IN_TURN = frozenset({"partner.due.v1"})

EPOCH = datetime.fromtimestamp(0, UTC)

log = structlog.get_logger()


class Dispatcher:
    """Handles deliveries; safe from many threads. `stop` ends waiting for a database that is away."""

    def __init__(self, context: Context, stop: Event) -> None:
        self._context, self._stop = context, stop
        self._turn = Lock()
        self.store_trouble: str | None = None

    def handle(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Handle these, all of one kind, together if there is a handler for many; a verdict for each."""
        together = self._handle_together(deliveries) if len(deliveries) > 1 else None
        return together or [self._handle(delivery) for delivery in deliveries]

    def _handle_together(self, deliveries: Sequence[Delivery]) -> list[Verdict] | None:
        """Handle them in one go; None = one of them is not as it should be, and each alone shows which."""
        handler = BATCH_HANDLERS.get(KINDS[deliveries[0].kind])
        if handler is None or any(delivery.redelivered for delivery in deliveries):
            return None
        try:
            messages = [self._decode(delivery) for delivery in deliveries]
            self._with_store(lambda: handler(self._context, messages))
        except _GivenUp:
            return [Verdict.AGAIN] * len(deliveries)
        except Exception:  # noqa: BLE001 - found again, and dealt with, when handled alone
            return None
        return [Verdict.DONE] * len(deliveries)

    def _handle(self, delivery: Delivery) -> Verdict:
        with structlog.contextvars.bound_contextvars(message_id=delivery.message_id, queue=delivery.queue):
            try:
                if delivery.redelivered and delivery.kind not in NOT_IN_TURN:
                    with self._turn:
                        return self._again(delivery)
                self._do(delivery)
            except _GivenUp:
                return Verdict.AGAIN
            except Exception:
                log.exception("message.failed")
                self._stop.wait(FAILED_PAUSE)
                return Verdict.AGAIN
            return Verdict.DONE

    def _again(self, delivery: Delivery) -> Verdict:
        """Handle a redelivered message after a committed note of it: one that kills the process is found out."""
        named = (delivery.message_id or "").encode(errors="replace") or delivery.body
        key = hashlib.sha256(named).hexdigest()
        tries = self._with_store(lambda: self._take_in_hand(delivery, key))
        if tries > TRIES:
            self._bury(
                delivery, "crashed", f"the worker died or failed {TRIES} times while handling this", attempts=tries
            )
        else:
            try:
                self._do(delivery)
            except _GivenUp:
                raise
            except Exception as error:
                if tries < TRIES:
                    raise
                log.exception("message.failed")
                self._bury(delivery, "unexpected", _brief(error), error=error, attempts=tries)
        self._with_store(lambda: self._out_of_hand(delivery, key))
        return Verdict.DONE

    def _do(self, delivery: Delivery) -> None:
        """Decode and handle; what is not ours, or not acceptable, becomes a dead letter."""
        try:
            message = self._decode(delivery)
        except ContractError as error:
            self._with_store(partial(self._refuse, delivery, error))
            return
        context = {"partner": message.partner_id, "correlation_id": message.correlation_id}
        with structlog.contextvars.bound_contextvars(**context):
            try:
                self._with_store(lambda: self._call(message))
            except Refused as error:
                self._bury(delivery, error.reason, str(error), partner_id=message.partner_id)

    def _call(self, message: Message) -> None:
        many = BATCH_HANDLERS.get(type(message))
        if many is not None:
            many(self._context, [message])
        else:
            HANDLERS[type(message)](self._context, message)

    def _decode(self, delivery: Delivery) -> Message:
        properties = delivery.properties
        message = decode(
            delivery.body,
            type=properties.get("type"),
            content_type=properties.get("content_type"),
            headers=properties.get("headers") or {},
        )
        if message.type != delivery.kind:
            raise ContractError("unknown_type", f"{message.type} came by the queue of {delivery.kind}")
        return message

    def _with_store(self, action: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the action returns
        """Do it again while the database is away (nothing is acknowledged meanwhile) or transactions meet."""
        pause, conflicts = STORE_PAUSE_FIRST, 0
        while True:
            try:
                result = action()
            except StoreConflict:
                conflicts += 1
                if conflicts > CONFLICTS:
                    raise
            except StoreUnavailable as error:
                self.store_trouble = str(error)
                log.warning("store.trouble", error=str(error), retry_in=pause)
                if self._stop.wait(pause):
                    raise _GivenUp from error
                pause = min(pause * 2, STORE_PAUSE_MOST)
            else:
                self.store_trouble = None
                return result

    # --- dead letters

    def _refuse(self, delivery: Delivery, error: ContractError) -> None:
        """Keep it, and if it is a push that can be addressed, say that it was refused; in one transaction."""
        log.warning("message.dead", reason="contract", error=str(error))
        with self._context.database.begin() as tx:
            dead_letters.add(tx, _letter(delivery, "contract", str(error), partner_id=error.partner_id))
            if error.type != "push.requested.v1" or error.partner_id is None or error.push_id is None:
                return
            if pushes.find(tx, error.partner_id, error.push_id) is not None:
                return
            digest = hashlib.sha256(delivery.body).hexdigest()
            refused = PushCompleted(
                id=derived_id(EPOCH, "push.refused", error.partner_id, error.push_id, digest),
                partner_id=error.partner_id,
                correlation_id=error.correlation_id or error.push_id,
                push_id=error.push_id,
                status="refused",
                problem=problems.refused_push(error.detail),
            )
            outbox.put(tx, refused)

    def _bury(
        self,
        delivery: Delivery,
        reason: str,
        said: str,
        *,
        partner_id: str | None = None,
        error: Exception | None = None,
        attempts: int = 1,
    ) -> None:
        log.warning("message.dead", reason=reason, error=said)
        letter = _letter(delivery, reason, said, partner_id=partner_id, error=error, attempts=attempts)

        def keep() -> None:
            with self._context.database.begin() as tx:
                dead_letters.add(tx, letter)

        self._with_store(keep)

    def _take_in_hand(self, delivery: Delivery, key: str) -> int:
        with self._context.database.begin() as tx:
            return dead_letters.take_in_hand(tx, delivery.queue, key)

    def _out_of_hand(self, delivery: Delivery, key: str) -> None:
        with self._context.database.begin() as tx:
            dead_letters.out_of_hand(tx, delivery.queue, key)


class _GivenUp(Exception):
    """The worker stops while the database is away: the message goes back."""


def _letter(
    delivery: Delivery,
    reason: str,
    said: str,
    *,
    partner_id: str | None = None,
    error: Exception | None = None,
    attempts: int = 1,
) -> DeadLetter:
    kind = delivery.properties.get("type")
    return DeadLetter(
        queue=delivery.queue,
        body=delivery.body,
        properties=delivery.properties,
        reason=reason,
        error=said,
        error_type=type(error).__name__ if error else None,
        error_at=_first_own_frame(error) if error else "",
        partner_id=partner_id,
        message_id=delivery.message_id,
        kind=kind if isinstance(kind, str) else delivery.kind,
        attempts=attempts,
    )


def _first_own_frame(error: Exception) -> str:
    """file:function of the deepest frame of ours: what a fingerprint needs."""
    ours = Path(__file__).parent.parent
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(ours)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
