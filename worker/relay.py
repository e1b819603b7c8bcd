"""The relay: takes what is due out of the outbox, publishes it with confirms, and only then deletes it."""

from collections.abc import Sequence
from threading import Event
from time import monotonic

import structlog

from store import Database, StoreError, dead_letters, outbox
from store.dead_letters import DeadLetter
from store.outbox import OutboxRow
from worker.delivery import Broker, BrokerUnavailable

POLL_SECONDS = 0.05
BATCH = 500
CLAIM_SECONDS = 60.0
TRIES = 10
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 300.0
PAUSE_SECONDS = 1.0
# When stopping: other workers' rows keep coming, and they relay them.
LAST_SECONDS = 5.0

log = structlog.get_logger()


class Relay:
    """Runs in each worker; rows are claimed, so several relays share the work."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database, self._broker = database, broker

    def run(self, stop: Event) -> None:
        """Relay until `stop`, then once more what is due by then."""
        while not stop.is_set():
            if not self.relay_some():
                stop.wait(POLL_SECONDS)
        until = monotonic() + LAST_SECONDS
        while monotonic() < until and self.relay_some():
            pass

    def relay_some(self) -> bool:
        """Relay one batch; whether it may be worth to go on at once."""
        try:
            with self._database.begin() as tx:
                _, rows = outbox.claim(tx, BATCH, CLAIM_SECONDS)
            if not rows:
                return False
            try:
                refusals = self._broker.publish(rows)
            except BrokerUnavailable as error:
                log.warning("broker.trouble", error=str(error))
                self._give_back(rows)
                return False
            self._store(rows, refusals)
        except Exception as error:
            log.warning("store.trouble", error=str(error), exc_info=not isinstance(error, StoreError))
            return False
        return True

    def _give_back(self, rows: Sequence[OutboxRow]) -> None:
        with self._database.begin() as tx:
            outbox.give_back(tx, [row.id for row in rows], after=PAUSE_SECONDS, tried=False)

    def _store(self, rows: Sequence[OutboxRow], refusals: Sequence[str | None]) -> None:
        refused = [(row, refusal) for row, refusal in zip(rows, refusals, strict=True) if refusal is not None]
        with self._database.begin() as tx:
            for row, refusal in refused:
                log.warning("outbox.refused", message_id=row.message_id, error=refusal, attempts=row.attempts)
                if row.attempts < TRIES:
                    seconds = min(BACKOFF_MOST, BACKOFF_FIRST * 2.0**row.attempts)
                    outbox.give_back(tx, [row.id], after=seconds, tried=True)
                else:
                    dead_letters.add(tx, _unpublishable(row, refusal))
            kept = {row.id for row, _ in refused if row.attempts < TRIES}
            outbox.delete(tx, [row.id for row in rows if row.id not in kept])


def _unpublishable(row: OutboxRow, refusal: str) -> DeadLetter:
    return DeadLetter(
        queue=row.routing_key,
        body=row.body,
        properties=row.properties,
        reason="unpublishable",
        error=refusal,
        message_id=row.message_id,
        kind=row.properties.get("type"),
        attempts=row.attempts,
    )
