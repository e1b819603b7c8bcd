"""Raw bytes are decoded and handled, and what comes of that becomes a settlement. No message ends the worker."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Lock
from time import perf_counter

import structlog

from messages import KINDS, ContractError, Message, decode
from store import dead_letters, redeliveries, replays
from store.amqp_properties import encoded_size
from store.dead_letters import DeadLetter
from store.replays import Replay, replay_of
from worker import metrics, tracing
from worker.clock import Clock
from worker.handlers import BATCH_HANDLERS, HANDLERS, REPLAYABLE
from worker.handlers.context import Context, MessageRejected
from worker.messaging.broker import Delivery, Settlement
from worker.messaging.contract_answers import Violation, reject
from worker.messaging.dead_letters import DeadLetters, first_own_frame
from worker.messaging.store_retry import StoreNotReady, StoreRetry
from worker.topology import KIND_DEAD

TRIES = 3
FAILED_PAUSE = 1.0

log = structlog.get_logger()


class Dispatcher:
    """Handles deliveries; safe from many threads. `stop` ends pauses.

    `charge_results` counts against a partner's rate the results that one of its messages had published again.
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
        self._clock, self._charge_results = clock, charge_results
        self._one_redelivery = Lock()

    def handle(self, deliveries: Sequence[Delivery]) -> list[Settlement]:
        """Handle deliveries, all of one kind. Returns a settlement for each."""
        started = perf_counter()
        settlements = self._handle_all(deliveries)
        handled = metrics.MESSAGES_HANDLED.labels(deliveries[0].queue)
        for _ in deliveries:
            handled.observe((perf_counter() - started) / len(deliveries))
        return settlements

    def _handle_all(self, deliveries: Sequence[Delivery]) -> list[Settlement]:
        kind = deliveries[0].kind
        settled: dict[int, Settlement | None] = {}
        if kind == KIND_DEAD:
            stored = self._try(lambda: self._store_letters(*map(self._letters.of_broker, deliveries)))
            settled = dict.fromkeys(range(len(deliveries)), stored)
        elif len(deliveries) > 1:
            batch_handler = BATCH_HANDLERS.get(KINDS[kind])
            settled = self._handle_batch(deliveries, batch_handler) if batch_handler else self._handle_each(deliveries)
        return [settled.get(place) or self._handle_alone(delivery) for place, delivery in enumerate(deliveries)]

    def _handle_each(self, deliveries: Sequence[Delivery]) -> dict[int, Settlement | None]:
        """Handle one after the other, each decoded just before that, and reject in one transaction.

        Returns settlements by place; a replay or redelivery has none, and is to be handled alone.
        """
        settled: dict[int, Settlement | None] = {}
        violations: dict[int, Violation] = {}
        for place, delivery in enumerate(deliveries):
            if delivery.redelivered or replay_of(delivery.properties):
                continue
            message = self._decoded(place, delivery, violations)
            if message is not None:
                settled[place] = self._handle_alone(delivery, message)
        return settled | self._reject_together(violations)

    def _handle_batch(
        self, deliveries: Sequence[Delivery], handler: Callable[[Context, Sequence[Message]], None]
    ) -> dict[int, Settlement | None]:
        """Reject in one transaction, and handle the others in another.

        Returns settlements by place; a replay, or a message that was in hand when a worker died, has none, and is to
        be handled alone.
        """
        redelivered = {place: _key(delivery) for place, delivery in enumerate(deliveries) if delivery.redelivered}
        suspects, are_noted = set(redelivered), False
        if redelivered:
            note = self._try(lambda: suspects.intersection_update(self._noted_before(deliveries, redelivered)))
            are_noted = note is Settlement.ACK
        messages: dict[int, Message] = {}
        violations: dict[int, Violation] = {}
        for place, delivery in enumerate(deliveries):
            if place in suspects or replay_of(delivery.properties):
                continue
            message = self._decoded(place, delivery, violations)
            if message is not None:
                messages[place] = message
        settled = self._reject_together(violations)
        if messages:
            handle = partial(self._call_batch, deliveries[0].queue, handler, messages.values())
            settled |= dict.fromkeys(messages, self._try(handle))
        handled = [key for place, key in redelivered.items() if settled.get(place) is Settlement.ACK]
        if are_noted and handled:
            self._try(lambda: self._delete_notes(deliveries[0], *handled))
        return settled

    def _decoded(self, place: int, delivery: Delivery, violations: dict[int, Violation]) -> Message | None:
        """Return the message. None = it is among the violations, or decoding it has a bug that is met again alone."""
        try:
            return self._decode(delivery)
        except ContractError as error:
            # Without its traceback, whose frames hold all of this batch, and this dictionary, in a circle.
            violations[place] = Violation(delivery, error.with_traceback(None))
        except Exception:  # noqa: BLE001, S110 - met again when handled alone
            pass
        return None

    def _reject_together(self, violations: Mapping[int, Violation]) -> dict[int, Settlement | None]:
        if not violations:
            return {}
        return dict.fromkeys(violations, self._try(lambda: self._reject(*violations.values())))

    def _noted_before(self, deliveries: Sequence[Delivery], redelivered: Mapping[int, str]) -> set[int]:
        """Note that redelivered messages are in hand. Returns the places of those that were when a worker died."""
        with self._context.database.begin() as tx:
            new = redeliveries.note_new(tx, deliveries[0].queue, *redelivered.values())
        return {place for place, key in redelivered.items() if key not in new}

    def _try(self, action: Callable[[], None]) -> Settlement | None:
        """Return the settlement of all messages of an action. None = one is at fault, which shows by each alone."""
        try:
            self._store_retry.do(action)
        except StoreNotReady:
            return Settlement.RELEASE
        except Exception:  # noqa: BLE001 - met again, and dealt with, when handled alone
            return None
        return Settlement.ACK

    def _handle_alone(self, delivery: Delivery, message: Message | None = None) -> Settlement:
        """Handle one delivery; `message` is its decoded body, if that is known."""
        # The property's correlation id, until the body's own is known.
        correlation_id = delivery.properties.get("correlation_id")
        named = {"message_id": delivery.message_id, "correlation_id": correlation_id, "queue": delivery.queue}
        with structlog.contextvars.bound_contextvars(**named):
            try:
                if delivery.redelivered and delivery.kind != KIND_DEAD:
                    with self._one_redelivery:
                        self._handle_redelivered(delivery)
                else:
                    self._handle_or_reject(delivery, message)
            except StoreNotReady:
                return Settlement.RELEASE
            except Exception:
                log.exception("message.failed")
                self._stop.wait(FAILED_PAUSE)
                return Settlement.REQUEUE
            return Settlement.ACK

    def _handle_redelivered(self, delivery: Delivery) -> None:
        """Handle a message after a note of it is committed, so that one which kills the process is recognised.

        A message that is released was not tried: its note is taken back. While the store is away that cannot be done,
        but then the broker has not counted a failed delivery either.
        """
        key = _key(delivery)
        noted = self._store_retry.do(lambda: self._note_in_hand(delivery, key))
        tries = min(noted, delivery.delivery_count)
        if tries > TRIES:
            died = f"the worker died or failed {TRIES} times while handling this"
            self._store_letter(self._letters.of(delivery, "crashed", died, attempts=tries))
        else:
            try:
                self._handle_or_reject(delivery)
            except StoreNotReady:
                with suppress(StoreNotReady):
                    self._store_retry.do(lambda: self._take_back_note(delivery, key))
                raise
            except Exception as error:
                if tries < TRIES:
                    raise
                log.exception("message.failed")
                self._store_letter(
                    self._letters.of(
                        delivery,
                        "unexpected",
                        _brief(error),
                        error_type=type(error).__name__,
                        error_at=first_own_frame(error),
                        attempts=tries,
                    )
                )
        self._store_retry.do(lambda: self._delete_notes(delivery, key))

    def _handle_or_reject(self, delivery: Delivery, message: Message | None = None) -> None:
        """Decode a message and call its handler; what breaks the contract, or is rejected, becomes a dead letter."""
        if delivery.kind == KIND_DEAD:
            self._store_letter(self._letters.of_broker(delivery))
            return
        try:
            message = message or self._decode(delivery)
        except ContractError as error:
            self._store_retry.do(partial(self._reject, Violation(delivery, error)))
            return
        context = {"partner": message.partner_id, "correlation_id": message.correlation_id}
        process = tracing.spans().process(delivery.queue, [message.traceparent], str(message.id))
        with structlog.contextvars.bound_contextvars(**context), process as fail:
            replay = replay_of(delivery.properties)
            try:
                republished = self._store_retry.do(lambda: self._call_handler(message, replay))
                self._charge_results(message.partner_id, republished or 0)
            except MessageRejected as error:
                fail(error.reason)
                self._store_letter(self._letters.of(delivery, error.reason, str(error), partner_id=message.partner_id))
            else:
                if replay is not None:
                    self._store_retry.do(lambda: self._note_replay(replay))

    def _call_batch(
        self, queue: str, handler: Callable[[Context, Sequence[Message]], None], messages: Collection[Message]
    ) -> None:
        with tracing.spans().process(queue, [message.traceparent for message in messages]):
            handler(self._context, [*messages])

    def _call_handler(self, message: Message, replay: Replay | None) -> int | None:
        """Return the number of results that the handler published again. None = its kind never does."""
        batch_handler = BATCH_HANDLERS.get(type(message))
        if batch_handler is not None:
            batch_handler(self._context, [message])
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
            tell_ignored=partial(_log_ignored, delivery),
        )
        if message.type != delivery.kind:
            raise ContractError("unknown_type", f"{message.type} came by the queue of {delivery.kind}")
        return message

    # --- one transaction each

    def _reject(self, *violations: Violation) -> None:
        contexts = [violation.traceparent for violation in violations]
        with tracing.spans().process(violations[0].delivery.queue, contexts) as fail:
            fail("contract")
            with self._context.database.begin() as tx:
                letters = reject(tx, self._letters, violations)
            _log(letters)

    def _store_letter(self, letter: DeadLetter) -> None:
        self._store_retry.do(lambda: self._store_letters(letter))

    def _store_letters(self, *letters: DeadLetter) -> None:
        with self._context.database.begin() as tx:
            dead_letters.add(tx, *letters)
        _log(letters)

    def _note_replay(self, replay: Replay) -> None:
        with self._context.database.begin() as tx:
            replays.note(tx, replay)

    def _note_in_hand(self, delivery: Delivery, key: str) -> int:
        with self._context.database.begin() as tx:
            return redeliveries.count_attempt(tx, delivery.queue, key)

    def _take_back_note(self, delivery: Delivery, key: str) -> None:
        with self._context.database.begin() as tx:
            redeliveries.take_back(tx, delivery.queue, key)

    def _delete_notes(self, delivery: Delivery, *keys: str) -> None:
        with self._context.database.begin() as tx:
            redeliveries.forget(tx, delivery.queue, *keys)


def _log(letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        named = {"letter": letter.id, "message_id": letter.message_id, "queue": letter.queue}
        log.warning("message.dead", reason=letter.reason, error=letter.error, **named)


def _log_ignored(delivery: Delivery, message: Message, paths: Sequence[str]) -> None:
    metrics.UNKNOWN_FIELDS.labels(message.type).inc()
    named = {"message_id": delivery.message_id, "correlation_id": message.correlation_id, "queue": delivery.queue}
    log.warning("message.unknown_fields", partner=message.partner_id, type=message.type, fields=paths, **named)


def _key(delivery: Delivery) -> str:
    """Return the key by which a redelivered message is known."""
    return hashlib.sha256((delivery.message_id or "").encode(errors="replace") + delivery.body).hexdigest()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
