"""From raw bytes to a handler, and from what happens there to a verdict. Nothing that arrives ends the worker."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event, Lock

import structlog

from messages import KINDS, ContractError, Message, decode
from store import dead_letters, redeliveries, replays
from store.amqp_properties import encoded_size
from store.dead_letters import DeadLetter
from store.replays import Replay, replay_of
from worker.clock import Clock
from worker.handlers import BATCH_HANDLERS, HANDLERS, REPLAYABLE
from worker.handlers.context import Context, MessageRejected
from worker.messaging.broker import Delivery, Settlement
from worker.messaging.dead_letters import DeadLetters, first_own_frame
from worker.messaging.refusals import Refusal, refuse
from worker.messaging.store_retry import StoreNotReady, StoreRetry
from worker.topology import KIND_DEAD

TRIES = 3
FAILED_PAUSE = 1.0

log = structlog.get_logger()


class Dispatcher:
    """Handles deliveries; safe from many threads. `stop` ends pauses.

    `charge` counts on a partner's share how many answers its message made be said at once.
    """

    def __init__(
        self,
        context: Context,
        letters: DeadLetters,
        stop: Event,
        store_retry: StoreRetry,
        clock: Clock,
        charge_results: Callable[[str, int], None],
    ) -> None:
        self._context, self._letters, self._stop, self._store_retry = context, letters, stop, store_retry
        self._clock, self._charge = clock, charge_results
        self._turn = Lock()

    def handle(self, deliveries: Sequence[Delivery]) -> list[Settlement]:
        """Handle these, all of one kind; a verdict for each."""
        if deliveries[0].kind == KIND_DEAD:
            kept = self._tried(lambda: self._bury(*map(self._letters.of_broker, deliveries)))
            return [kept or self._handle(delivery) for delivery in deliveries]
        many = BATCH_HANDLERS.get(KINDS[deliveries[0].kind])
        if len(deliveries) == 1:
            done = {}
        elif many is not None:
            done = self._handle_together(deliveries, many)
        else:
            done = self._handle_each(deliveries)
        return [done.get(place) or self._handle(delivery) for place, delivery in enumerate(deliveries)]

    def _handle_each(self, deliveries: Sequence[Delivery]) -> dict[int, Settlement | None]:
        """One after the other, each decoded when its turn comes; what is to be refused in one transaction.

        Settlements by place; who has none is to be handled alone: replays, and what comes again.
        """
        done: dict[int, Settlement | None] = {}
        refused: dict[int, Refusal] = {}
        for place, delivery in enumerate(deliveries):
            if delivery.redelivered or replay_of(delivery.properties):
                continue
            message = self._decoded(place, delivery, refused)
            if message is not None:
                done[place] = self._handle(delivery, message)
        return done | self._refuse_together(refused)

    def _handle_together(
        self, deliveries: Sequence[Delivery], handler: Callable[[Context, Sequence[Message]], None]
    ) -> dict[int, Settlement | None]:
        """Refuse in one transaction, and handle what is good in another.

        Settlements by place; who has none is to be handled alone: replays, and what was in hand when a worker died.
        """
        again = {place: _key(one) for place, one in enumerate(deliveries) if one.redelivered}
        suspects, noted = set(again), False
        if again:
            note = self._tried(lambda: suspects.intersection_update(self._noted_before(deliveries, again)))
            noted = note is Settlement.ACK
        good: dict[int, Message] = {}
        refused: dict[int, Refusal] = {}
        for place, delivery in enumerate(deliveries):
            if place in suspects or replay_of(delivery.properties):
                continue
            message = self._decoded(place, delivery, refused)
            if message is not None:
                good[place] = message
        done = self._refuse_together(refused)
        if good:
            done |= dict.fromkeys(good, self._tried(lambda: handler(self._context, [*good.values()])))
        over = [key for place, key in again.items() if done.get(place) is Settlement.ACK]
        if noted and over:
            self._tried(lambda: self._out_of_hand(deliveries[0], *over))
        return done

    def _decoded(self, place: int, delivery: Delivery, refused: dict[int, Refusal]) -> Message | None:
        """The message; None = it is among the refused, or a bug of ours that is dealt with when it is handled alone."""
        try:
            return self._decode(delivery)
        except ContractError as error:
            # Without its traceback, whose frames hold all of this batch, and this dictionary, in a circle.
            refused[place] = (delivery, error.with_traceback(None))
        except Exception:  # noqa: BLE001, S110 - met again when handled alone
            pass
        return None

    def _refuse_together(self, refused: Mapping[int, Refusal]) -> dict[int, Settlement | None]:
        if not refused:
            return {}
        return dict.fromkeys(refused, self._tried(lambda: self._refuse(*refused.values())))

    def _noted_before(self, deliveries: Sequence[Delivery], again: Mapping[int, str]) -> set[int]:
        """Note that these redelivered ones are in hand; the places of those that were when a worker died."""
        with self._context.database.begin() as tx:
            new = redeliveries.note_new(tx, deliveries[0].queue, *again.values())
        return {place for place, key in again.items() if key not in new}

    def _tried(self, action: Callable[[], None]) -> Settlement | None:
        """The verdict for all that this is about; None = something is wrong, and each alone shows which is at fault."""
        try:
            self._store_retry.do(action)
        except StoreNotReady:
            return Settlement.RELEASE
        except Exception:  # noqa: BLE001 - found again, and dealt with, when handled alone
            return None
        return Settlement.ACK

    def _handle(self, delivery: Delivery, message: Message | None = None) -> Settlement:
        """Handle it alone; `message` is what it says, if that is known."""
        # By the body's own once that is read; what cannot be read is told with this.
        correlation_id = delivery.properties.get("correlation_id")
        named = {"message_id": delivery.message_id, "correlation_id": correlation_id, "queue": delivery.queue}
        with structlog.contextvars.bound_contextvars(**named):
            try:
                if delivery.redelivered and delivery.kind != KIND_DEAD:
                    with self._turn:
                        return self._again(delivery)
                self._do(delivery, message)
            except StoreNotReady:
                return Settlement.RELEASE
            except Exception:
                log.exception("message.failed")
                self._stop.wait(FAILED_PAUSE)
                return Settlement.REQUEUE
            return Settlement.ACK

    def _again(self, delivery: Delivery) -> Settlement:
        """Handle a redelivered message after a committed note of it: one that kills the process is found out.

        While the store is away nobody can take back the note of a message that is released; but the broker has not
        counted that.
        """
        key = _key(delivery)
        noted = self._store_retry.do(lambda: self._take_in_hand(delivery, key))
        tries = min(noted, delivery.delivery_count)
        if tries > TRIES:
            died = f"the worker died or failed {TRIES} times while handling this"
            self._keep(self._letters.of(delivery, "crashed", died, attempts=tries))
        else:
            try:
                self._do(delivery)
            except StoreNotReady:
                raise
            except Exception as error:
                if tries < TRIES:
                    raise
                log.exception("message.failed")
                self._keep(
                    self._letters.of(
                        delivery,
                        "unexpected",
                        _brief(error),
                        error_type=type(error).__name__,
                        error_at=first_own_frame(error),
                        attempts=tries,
                    )
                )
        self._store_retry.do(lambda: self._out_of_hand(delivery, key))
        return Settlement.ACK

    def _do(self, delivery: Delivery, message: Message | None = None) -> None:
        """Decode and handle; what is not ours, or not acceptable, becomes a dead letter."""
        if delivery.kind == KIND_DEAD:
            self._keep(self._letters.of_broker(delivery))
            return
        try:
            message = message or self._decode(delivery)
        except ContractError as error:
            self._store_retry.do(partial(self._refuse, (delivery, error)))
            return
        context = {"partner": message.partner_id, "correlation_id": message.correlation_id}
        with structlog.contextvars.bound_contextvars(**context):
            replay = replay_of(delivery.properties)
            try:
                self._charge(message.partner_id, self._store_retry.do(lambda: self._call(message, replay)) or 0)
            except MessageRejected as error:
                self._keep(self._letters.of(delivery, error.reason, str(error), partner_id=message.partner_id))
            else:
                if replay is not None:
                    self._store_retry.do(lambda: self._note(replay))

    def _call(self, message: Message, replay: Replay | None) -> int | None:
        """Handle; the number of answers that were said at once, None = a handful at most."""
        many = BATCH_HANDLERS.get(type(message))
        if many is not None:
            many(self._context, [message])
            return None
        if replay is not None and isinstance(message, REPLAYABLE):
            return HANDLERS[type(message)](self._context, message, replay)
        return HANDLERS[type(message)](self._context, message)

    def _decode(self, delivery: Delivery) -> Message:
        properties = delivery.properties
        message = decode(
            delivery.body,
            type=properties.get("type"),
            content_type=properties.get("content_type"),
            correlation_id=properties.get("correlation_id"),
            headers=properties.get("headers") or {},
            properties_size=encoded_size(properties),
            now=self._clock.now(),
        )
        if message.type != delivery.kind:
            raise ContractError("unknown_type", f"{message.type} came by the queue of {delivery.kind}")
        return message

    # --- dead letters

    def _refuse(self, *refused: Refusal) -> None:
        """Keep these, in one transaction."""
        with self._context.database.begin() as tx:
            letters = refuse(tx, self._letters, refused)
        _log(letters)

    def _keep(self, letter: DeadLetter) -> None:
        self._store_retry.do(lambda: self._bury(letter))

    def _bury(self, *letters: DeadLetter) -> None:
        with self._context.database.begin() as tx:
            dead_letters.add(tx, *letters)
        _log(letters)

    def _note(self, replay: Replay) -> None:
        with self._context.database.begin() as tx:
            replays.note(tx, replay)

    def _take_in_hand(self, delivery: Delivery, key: str) -> int:
        with self._context.database.begin() as tx:
            return redeliveries.count_attempt(tx, delivery.queue, key)

    def _out_of_hand(self, delivery: Delivery, *keys: str) -> None:
        with self._context.database.begin() as tx:
            redeliveries.forget(tx, delivery.queue, *keys)


def _log(letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        named = {"letter": letter.id, "message_id": letter.message_id, "queue": letter.queue}
        log.warning("message.dead", reason=letter.reason, error=letter.error, **named)


def _key(delivery: Delivery) -> str:
    """Return the key by which a redelivered message is known."""
    return hashlib.sha256((delivery.message_id or "").encode(errors="replace") + delivery.body).hexdigest()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
