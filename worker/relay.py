"""The relay: takes what is due out of the outbox, publishes it with confirms, and only then deletes it."""

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from time import monotonic

import structlog

from messages import SealError
from store import Database, StoreError, outbox, replays
from store.outbox import EXCHANGE_REPLIES, OutboxRow
from worker.dead_letters import send_back
from worker.delivery import Broker, BrokerUnavailable
from worker.readiness import Readiness

POLL_SECONDS = 0.05
BATCH = 500
CLAIM_SECONDS = 60.0
TRIES = 10
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 300.0
PAUSE_SECONDS = 1.0
TROUBLE_FIRST, TROUBLE_MOST = 0.5, 5.0
# When stopping: other workers' rows keep coming, and they relay them.
LAST_SECONDS = 5.0

log = structlog.get_logger()


class Relay:
    """Runs in each worker; rows are claimed, so several relays share the work."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        readiness: Readiness,
        opened: Callable[[OutboxRow], OutboxRow],
    ) -> None:
        self._database, self._broker, self._readiness, self._opened = database, broker, readiness, opened
        self._pause = POLL_SECONDS

    def run(self, stop: Event) -> None:
        """Relay until `stop`, then once more what is due by then."""
        while not stop.is_set():
            if not self.relay_some():
                stop.wait(self._pause)
        until = monotonic() + LAST_SECONDS
        while monotonic() < until and self.relay_some():
            pass

    def relay_some(self) -> bool:
        """Relay one batch; whether it may be worth to go on at once."""
        try:
            with self._database.begin() as tx:
                _, claimed = outbox.claim(tx, BATCH, CLAIM_SECONDS)
            rows = self._open(claimed)
            if not rows:
                self._pause = POLL_SECONDS
                return bool(claimed)
            try:
                refusals = self._broker.publish(rows)
            except BrokerUnavailable as error:
                self._readiness.trouble("publisher", error)
                self._give_back(rows)
                self._slow_down()
                return False
            self._readiness.fine("publisher")
            self._store(rows, refusals, {row.id: row for row in claimed})
        except Exception as error:  # noqa: BLE001 - readiness tells it
            self._readiness.trouble("store", error, expected=isinstance(error, StoreError))
            self._slow_down()
            return False
        return True

    def _slow_down(self) -> None:
        self._pause = min(max(TROUBLE_FIRST, self._pause * 2), TROUBLE_MOST)

    def _open(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Those that can leave, with sealed bodies open; the replays that cannot are back with their dead letters."""
        opened: list[OutboxRow] = []
        for row in rows:
            try:
                opened.append(self._opened(row))
            except SealError as error:
                with self._database.begin() as tx:
                    send_back(tx, row, str(error))
        return opened

    def _give_back(self, rows: Sequence[OutboxRow]) -> None:
        with self._database.begin() as tx:
            outbox.give_back(tx, [row.id for row in rows], after=PAUSE_SECONDS, tried=False)

    def _store(
        self, rows: Sequence[OutboxRow], refusals: Sequence[str | None], claimed: Mapping[int, OutboxRow]
    ) -> None:
        refused = []
        for row, refusal in zip(rows, refusals, strict=True):
            if refusal is not None and row.exchange == EXCHANGE_REPLIES:
                # Who asked waits no more, or does not read; the answer is kept with the question.
                log.warning("reply.dropped", message_id=row.message_id, queue=row.routing_key, error=refusal)
            elif refusal is not None:
                refused.append((row, refusal))
        with self._database.begin() as tx:
            for row, refusal in refused:
                log.warning("outbox.refused", message_id=row.message_id, error=refusal, attempts=row.attempts)
                if row.attempts < TRIES:
                    seconds = min(BACKOFF_MOST, BACKOFF_FIRST * 2.0**row.attempts)
                    outbox.give_back(tx, [row.id], after=seconds, tried=True)
                else:
                    # As it is stored: what was sealed stays so.
                    send_back(tx, claimed[row.id], refusal)
            kept = {row.id for row, _ in refused}
            sent = [row for row in rows if row.id not in kept]
            outbox.delete(tx, [row.id for row in sent])
            for row in sent:
                # What goes to an exchange is not for us, so nobody else can say that it arrived.
                replay = replays.replay_of(row.properties) if row.exchange else None
                if replay is not None:
                    replays.note(tx, replay)
