"""Rows of the outbox are claimed, delivered to handlers, and deleted when these have committed."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from threading import Event
from time import monotonic, sleep

from messages import SealError
from store import Database, StoreError, outbox
from store.database import AT_ONCE_BYTES
from store.due_watch import LOOK_SECONDS
from store.outbox import Claim, OutboxRow
from store.wakeups import Kind
from worker.health import Part, Readiness
from worker.messaging.broker import Deliver, Delivery, Settle, Settlement, never
from worker.messaging.dead_letters import dead_letter_row
from worker.topology import Queue, Topology

# Deliveries of a killed process are claimed again after so long; a living one extends its claims.
CLAIM_SECONDS = 10.0
EXTEND_SECONDS = 3.0
AGAIN_SECONDS = 1.0
TROUBLE_SECONDS = 1.0


class OutboxConsumer(ABC):
    """Consumes rows that no other process has claimed. An attempt is counted before the row is delivered."""

    _kind: Kind

    def __init__(
        self,
        database: Database,
        topology: Topology,
        unsealed: Callable[[OutboxRow], OutboxRow],
        readiness: Readiness | None = None,
        part: Part = "broker",
    ) -> None:
        self.topology = topology
        self._database, self._unsealed = database, unsealed
        self._readiness, self._part = readiness or Readiness(), part
        self._in_hand: dict[int, tuple[OutboxRow, str]] = {}
        self._per_queue: Counter[str] = Counter()
        self._settled: deque[tuple[OutboxRow, str, Settlement]] = deque()

    def consume(self, deliver: Deliver, stop: Event, is_paused: Callable[[], bool] = never) -> None:
        """Deliver, unless paused, until `stop` is set and all deliveries are settled."""
        extended = monotonic()
        while not stop.is_set() or self._in_hand:
            self._readiness.tick(self._part)
            try:
                busy = self._settle()
                if monotonic() > extended + EXTEND_SECONDS:
                    self._extend()
                    extended = monotonic()
                if not stop.is_set() and not is_paused():
                    busy = self._take(deliver) or busy
                self._readiness.fine(self._part)
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble(self._part, error, expected=isinstance(error, StoreError))
                if stop.is_set():
                    return  # rows in hand can be claimed again once their claims end
                sleep(TROUBLE_SECONDS)
                continue
            if not busy:
                self._database.wakeups.wait(self._kind, EXTEND_SECONDS if self._in_hand else LOOK_SECONDS)

    @abstractmethod
    def _take(self, deliver: Deliver) -> bool:
        """Claim rows and `_deliver` them. Returns False if there were none."""

    @property
    def _room(self) -> int:
        """The bytes of rows that may be claimed; with nothing in hand there is room for the largest row."""
        return AT_ONCE_BYTES - sum(len(row.body) for row, _ in self._in_hand.values())

    def _read(self, claimed: Claim) -> list[OutboxRow]:
        """Read the rows of a committed claim: if reading them kills this process, that was an attempt."""
        if not claimed.ids:
            return []
        with self._database.begin() as tx:
            return outbox.read(tx, claimed)

    def _deliver(self, deliver: Deliver, row: OutboxRow, token: str, queues: Collection[Queue]) -> None:
        """Deliver a claimed row once for each of these queues."""
        try:
            unsealed = self._unsealed(row)
        except SealError as error:
            self._dead_letter_row(row, str(error))
            return
        # A row may be claimed again that is still in hand, if this process was frozen longer than its claim.
        fresh = row.id not in self._in_hand
        self._in_hand[row.id] = (row, token)
        for queue in queues if fresh else ():
            self._per_queue[queue.name] += 1
            deliver(_delivery(queue, unsealed, self.topology.prefix), self._settler(row, queue.name))

    def _dead_letter_row(self, row: OutboxRow, why: str) -> None:
        with self._database.begin() as tx:
            dead_letter_row(tx, row, why)

    def _settler(self, row: OutboxRow, queue_name: str) -> Settle:
        def settled(_: Settle, settlement: Settlement) -> None:
            self._settled.append((row, queue_name, settlement))
            self._database.wakeups.ring(self._kind)

        return Settle(settled)

    def _settle(self) -> bool:
        """Store the settlements that came. Returns False if there were none."""
        settled = list(self._settled)
        if not settled:
            return False
        with self._database.begin() as tx:
            outbox.delete(tx, [row.id for row, _, settlement in settled if settlement is Settlement.ACK])
            for claimed in self._claims([row for row, _, settlement in settled if settlement is Settlement.REQUEUE]):
                outbox.retry(tx, claimed, after=AGAIN_SECONDS)
            for claimed in self._claims([row for row, _, settlement in settled if settlement is Settlement.RELEASE]):
                outbox.release(tx, claimed)
        for row, queue_name, _ in settled:
            self._settled.popleft()
            self._in_hand.pop(row.id, None)
            self._per_queue[queue_name] -= 1
        return True

    def _extend(self) -> None:
        claims = self._claims([row for row, _ in self._in_hand.values()])
        with self._database.begin() as tx:
            for claimed in claims:
                outbox.extend(tx, claimed, CLAIM_SECONDS)

    def _claims(self, rows: Sequence[OutboxRow]) -> list[Claim]:
        """Return the claims by which these rows are in hand."""
        by_token: dict[str, list[int]] = {}
        for row in rows:
            if row.id in self._in_hand:
                by_token.setdefault(self._in_hand[row.id][1], []).append(row.id)
        return [Claim(token, ids) for token, ids in by_token.items()]


def _delivery(queue: Queue, row: OutboxRow, prefix: str) -> Delivery:
    return Delivery(
        kind=queue.kind or "",
        queue=queue.name.removeprefix(prefix),
        body=row.body,
        properties=row.properties,
        redelivered=row.attempts > 1,
        delivery_count=row.attempts - 1,
    )
