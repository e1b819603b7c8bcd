"""The relay publishes due rows of the outbox, and deletes each once the broker has confirmed it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from threading import Event
from time import monotonic

import structlog

from messages import SealError
from store import Database, StoreError, Tx, outbox, replays
from store.due_watch import LOOK_SECONDS
from store.outbox import EXCHANGE_REPLIES, Claim, OutboxRow
from worker import metrics, tracing
from worker.health import Readiness
from worker.messaging.broker import Broker, BrokerUnavailable, Fault, Refusal, TopologyMismatch, trace_context
from worker.messaging.dead_letters import dead_letter_row
from worker.messaging.full_queues import FullQueues
from worker.tracing import Published

BATCH = 500
CLAIM_SECONDS = 60.0
TRIES = 10
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 300.0
TROUBLE_FIRST, TROUBLE_MOST = 0.5, 2.0
DEFAULT_EXCHANGE = "amq.default"
"""The name of the exchange without a name in OpenTelemetry's conventions."""
# When stopping: rows of other workers keep coming, and those workers relay them.
LAST_SECONDS = 5.0

log = structlog.get_logger()


class Relay:
    """Runs in each worker; a row is claimed by one of them."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        readiness: Readiness,
        unsealed: Callable[[OutboxRow], OutboxRow],
    ) -> None:
        self._database, self._broker, self._readiness, self._unsealed = database, broker, readiness, unsealed
        self._pause = 0.0  # after a failure
        self._full = FullQueues()
        self._in_trouble = False
        self._cut_off = Claim("", [])  # by an outage of the store, so its rows were not given back

    def run(self, stop: Event) -> None:
        """Relay until `stop`, then the rows that are due by then."""
        while not stop.is_set():
            self._readiness.tick("publisher")
            if self.relay_batch():
                continue
            if self._pause:
                stop.wait(self._pause)
            else:
                self._database.wakeups.wait("outbox", LOOK_SECONDS)
        until = monotonic() + LAST_SECONDS
        while monotonic() < until and self.relay_batch():
            pass

    def relay_batch(self) -> bool:
        """Relay one batch. Returns False if none was due, or if the next is to be tried after a pause only."""
        claimed = Claim("", [])
        try:
            with self._database.begin(autocommit=True) as tx:
                if self._cut_off.ids:
                    # Each is claimed alone now, as one of them may be the cause.
                    outbox.extend(tx, self._cut_off, 0.0)
                claimed = self._claim(tx)
            self._cut_off = Claim("", [])
            stored = self._read(claimed)
            if not stored:
                self._idle()
                return False
            rows = self._open(stored)
            began = monotonic()
            refusals = self._broker.publish(rows) if rows else []
            self._report(rows, refusals)
            seconds = monotonic() - began
            self._store(claimed.token, rows, refusals, {row.id: row for row in stored})
            _trace(rows, refusals, seconds)
        except (BrokerUnavailable, TopologyMismatch) as error:
            self._readiness.trouble("publisher", error)
            self._slow_down()
            return False
        except Exception as error:  # noqa: BLE001 - readiness tells it
            if isinstance(error, StoreError) and len(claimed.ids) > 1:
                self._cut_off = claimed  # a single row waits for the end of its claim: it may be the cause
            self._readiness.trouble("store", error, expected=isinstance(error, StoreError))
            self._slow_down()
            return False
        return not self._pause

    def _idle(self) -> None:
        """Nothing is due. After a failure check the broker, as nothing else would show that it is back."""
        if self._in_trouble and not self._full:
            self._broker.check()
            self._readiness.fine("publisher")
            self._in_trouble = False
        self._pause = 0.0

    def _claim(self, tx: Tx) -> Claim:
        """Claim due rows: a batch, or one if the broker was away, or one for a queue that was full."""
        for destination in self._full.to_be_tried():
            claimed = outbox.claim(tx, 1, CLAIM_SECONDS, only=destination)
            if claimed.ids:
                return claimed
            self._full.note([destination], [])
        limit = 1 if self._pause else BATCH
        return outbox.claim(tx, limit, CLAIM_SECONDS, but=self._full)

    def _read(self, claimed: Claim) -> list[OutboxRow]:
        """Read the rows of a committed claim: if reading them kills this worker, that was an attempt."""
        if not claimed.ids:
            return []
        with self._database.begin(autocommit=True) as tx:
            return outbox.read(tx, claimed)

    def _slow_down(self) -> None:
        self._pause = min(max(TROUBLE_FIRST, self._pause * 2), TROUBLE_MOST)

    def _open(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Unseal bodies. Rows that cannot be published become dead letters, and are not returned."""
        unsealed: list[OutboxRow] = []
        for row in rows:
            if row.attempts > TRIES:
                self._give_up(row, f"the worker that published it died, {TRIES} times")
                continue
            try:
                unsealed.append(self._unsealed(row))
            except SealError as error:
                self._give_up(row, str(error))
        return unsealed

    def _give_up(self, row: OutboxRow, why: str) -> None:
        with self._database.begin() as tx:
            dead_letter_row(tx, row, why)

    def _report(self, rows: Sequence[OutboxRow], refusals: Sequence[Refusal | None]) -> None:
        """Update readiness, the pause if the broker is away, and the full queues."""
        outcomes = list(zip(rows, refusals, strict=True))
        for row, refusal in outcomes:
            metrics.MESSAGES_SENT.labels(row.exchange, _error_type(refusal)).inc()
        taken = {(row.exchange, row.routing_key) for row, refusal in outcomes if refusal is None}
        blocked = [row for row, refusal in outcomes if refusal and _is_blocked(row, refusal)]
        full = {(row.exchange, row.routing_key) for row in blocked}
        self._full.note(taken, full)
        waits = [refusal for refusal in refusals if refusal and refusal.fault in {Fault.QUEUE, Fault.BROKER}]
        if waits:
            self._in_trouble = True
            self._readiness.trouble("publisher", BrokerUnavailable(waits[-1].why))
        elif not self._full:
            self._in_trouble = False
            self._readiness.fine("publisher")
        if any(refusal.fault is Fault.BROKER for refusal in waits):
            self._slow_down()
        else:
            self._pause = 0.0

    def _store(
        self, token: str, rows: Sequence[OutboxRow], refusals: Sequence[Refusal | None], stored: Mapping[int, OutboxRow]
    ) -> None:
        sent: list[OutboxRow] = []
        waiting: list[OutboxRow] = []
        refused: list[tuple[OutboxRow, Refusal]] = []
        for row, refusal in zip(rows, refusals, strict=True):
            if refusal is None:
                sent.append(row)
            elif refusal.fault is Fault.BROKER or _is_blocked(row, refusal):
                waiting.append(row)
            elif row.exchange == EXCHANGE_REPLIES:
                # The queue of the request is gone or full; the reply is kept with its question.
                log.warning("reply.dropped", message_id=row.message_id, queue=row.routing_key, error=refusal.why)
                sent.append(row)
            else:
                refused.append((row, refusal))
        # A row to an exchange is not for a worker, so no handler will note its replay.
        replayed = [replay for row in sent if row.exchange and (replay := replays.replay_of(row.properties))]
        with self._database.begin(autocommit=not (waiting or refused or replayed)) as tx:
            outbox.release(tx, Claim(token, [row.id for row in waiting]))
            for row, refusal in refused:
                log.warning("outbox.refused", message_id=row.message_id, error=refusal.why, attempts=row.attempts)
                if row.attempts < TRIES:
                    give_back = outbox.retry_alone if refusal.fault is Fault.CHANNEL else outbox.retry
                    give_back(tx, Claim(token, [row.id]), after=min(BACKOFF_MOST, BACKOFF_FIRST * 2.0**row.attempts))
                else:
                    # The stored row: a sealed body stays sealed.
                    dead_letter_row(tx, stored[row.id], refusal.why)
            outbox.delete(tx, [row.id for row in sent])
            for replay in replayed:
                replays.note(tx, replay)


def _trace(rows: Sequence[OutboxRow], refusals: Sequence[Refusal | None], seconds: float) -> None:
    for exchange, published in groupby(zip(rows, refusals, strict=True), lambda item: item[0].exchange):
        messages = (
            Published(row.message_id, row.routing_key, trace_context(row.properties), _error_type(refusal))
            for row, refusal in published
        )
        named = DEFAULT_EXCHANGE if exchange in {"", EXCHANGE_REPLIES} else exchange
        tracing.spans().publish(named, messages, seconds)


def _error_type(refusal: Refusal | None) -> str:
    return refusal.fault.value if refusal else ""


def _is_blocked(row: OutboxRow, refusal: Refusal) -> bool:
    """True if its queue is full, unless that is a reply queue, whose owner no longer reads."""
    return refusal.fault is Fault.QUEUE and row.exchange != EXCHANGE_REPLIES
