"""The embedded broker: the outbox itself. What is put there is handed to this process's own handlers, or another's."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from threading import Event
from time import monotonic, sleep

from messages import SealError
from store import Database, StoreError, outbox
from store.outbox import OutboxRow
from worker.dead_letters import send_back
from worker.delivery import Deliver, Delivery, Settle, Verdict, never
from worker.readiness import Readiness
from worker.topology import Queue, Topology

POLL_SECONDS = 0.05
# A killed process's deliveries are taken over after this long; a living one extends its own.
CLAIM_SECONDS = 10.0
EXTEND_SECONDS = 3.0
AGAIN_SECONDS = 1.0
TROUBLE_SECONDS = 1.0


class LocalBroker:
    """Several processes may share one store: a row is claimed by one, and leaves when its handler has committed."""

    def __init__(
        self,
        database: Database,
        topology: Topology,
        opened: Callable[[OutboxRow], OutboxRow],
        readiness: Readiness | None = None,
    ) -> None:
        self.topology = topology
        self._database, self._opened = database, opened
        self._readiness = readiness or Readiness()
        self._claimed: dict[int, str] = {}
        self._room: Counter[str] = Counter()
        self._settled: deque[tuple[OutboxRow, str, Verdict]] = deque()

    def declare(self) -> None:
        """Nothing to declare: the tables are there."""

    def check(self) -> None:
        """Nothing to check: the tables are there."""

    def publish(self, rows: Sequence[OutboxRow]) -> list[str | None]:
        """Put them into the outbox; for each, None = it is safe there, or why not. Raises StoreError."""
        refusals = [self._refusal(row) for row in rows]
        with self._database.begin() as tx:
            outbox.put_rows(tx, [row for row, refusal in zip(rows, refusals, strict=True) if refusal is None])
        return refusals

    def close(self) -> None:
        """Nothing to close."""

    def consume(self, deliver: Deliver, stop: Event, is_paused: Callable[[], bool] = never) -> None:
        """Deliver, unless it is paused, until `stop` is set and what was delivered is settled."""
        extended = monotonic()
        while not stop.is_set() or self._claimed:
            pause = POLL_SECONDS
            try:
                busy = self._settle()
                if monotonic() > extended + EXTEND_SECONDS:
                    self._extend()
                    extended = monotonic()
                if not stop.is_set() and not is_paused():
                    busy = self._take(deliver) or busy
                self._readiness.fine("broker")
                pause = 0.0 if busy else POLL_SECONDS
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("broker", error, expected=isinstance(error, StoreError))
                pause = TROUBLE_SECONDS
            sleep(pause)

    def _refusal(self, row: OutboxRow) -> str | None:
        if self.topology.routes(row.exchange, row.routing_key):
            return None
        return f"no queue takes it: exchange {row.exchange}, routing key {row.routing_key}"

    def _take(self, deliver: Deliver) -> bool:
        """Claim what is due, of each kind as much as may be in hand; whether there was any."""
        found = False
        with self._database.begin() as tx:
            due = outbox.due_keys(tx)
        for exchange, key in due:
            queues = [queue for queue in self.topology.routes(exchange, key) if queue.kind is not None]
            room = min((queue.prefetch - self._room[queue.name] for queue in queues), default=100)
            if room > 0:
                found = self._claim(deliver, exchange, key, queues, room) or found
        return found

    def _claim(self, deliver: Deliver, exchange: str, key: str, queues: Collection[Queue], room: int) -> bool:
        with self._database.begin() as tx:
            token, rows = outbox.claim(tx, room, CLAIM_SECONDS, only=(exchange, key))
            if not queues:
                # An answer that only the platform's queue would take: here it is read from the store.
                outbox.delete(tx, [row.id for row in rows])
                return bool(rows)
        for row in self._open(rows):
            # After a freeze longer than its claim a row may be claimed again that is still in hand here.
            fresh = row.id not in self._claimed
            self._claimed[row.id] = token
            for queue in queues if fresh else ():
                self._room[queue.name] += 1
                deliver(_delivery(queue, row, self.topology.prefix), self._settler(row, queue.name))
        return bool(rows)

    def _open(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        opened: list[OutboxRow] = []
        for row in rows:
            try:
                opened.append(self._opened(row))
            except SealError as error:
                with self._database.begin() as tx:
                    send_back(tx, row, str(error))
        return opened

    def _settler(self, row: OutboxRow, queue_name: str) -> Settle:
        return Settle(lambda _, verdict: self._settled.append((row, queue_name, verdict)))

    def _settle(self) -> bool:
        """Store the verdicts that came; whether there were any."""
        settled = list(self._settled)
        if not settled:
            return False
        with self._database.begin() as tx:
            outbox.delete(tx, [row.id for row, _, verdict in settled if verdict is Verdict.DONE])
            for given_back in (Verdict.AGAIN, Verdict.RELEASED):
                ids = [row.id for row, _, verdict in settled if verdict is given_back]
                if ids:
                    outbox.give_back(tx, ids, after=AGAIN_SECONDS, tried=given_back is Verdict.AGAIN)
        for row, queue_name, _ in settled:
            self._settled.popleft()
            self._claimed.pop(row.id, None)
            self._room[queue_name] -= 1
        return True

    def _extend(self) -> None:
        by_token: dict[str, list[int]] = {}
        for row_id, token in self._claimed.items():
            by_token.setdefault(token, []).append(row_id)
        with self._database.begin() as tx:
            for token, ids in by_token.items():
                outbox.extend(tx, token, ids, CLAIM_SECONDS)


def _delivery(queue: Queue, row: OutboxRow, prefix: str) -> Delivery:
    return Delivery(
        kind=queue.kind or "",
        queue=queue.name.removeprefix(prefix),
        body=row.body,
        properties=row.properties,
        redelivered=row.attempts > 1,
        delivery_count=row.attempts - 1,
    )
