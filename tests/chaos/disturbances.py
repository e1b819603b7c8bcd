"""All that goes wrong in a run, and when, by the seed. What concerns one server comes one after the other."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import psycopg
from psycopg import sql

from tests.chaos.installation import Installation
from tests.chaos.workers import Workers

Kind = Literal[
    "worker killed",
    "RabbitMQ restarted",
    "RabbitMQ killed",
    "memory alarm",
    "PostgreSQL restarted",
    "PostgreSQL stopped at once",
    "PostgreSQL connections terminated",
    "PostgreSQL read-only",
    "push_lines locked",
    "outbox locked",
    "standby in PostgreSQL's place",
    "backlog of large messages",
]
KILLS = 22
RABBITMQ: Sequence[Kind] = (
    "RabbitMQ restarted",
    "RabbitMQ restarted",
    "RabbitMQ killed",
    "memory alarm",
)
POSTGRESQL: Sequence[Kind] = (
    "PostgreSQL restarted",
    "PostgreSQL restarted",
    "PostgreSQL stopped at once",
    "PostgreSQL connections terminated",
    "PostgreSQL read-only",
    "push_lines locked",
    "outbox locked",
    "standby in PostgreSQL's place",
    # It is put straight into the database, so that must be there.
    "backlog of large messages",
)
LASTS: Mapping[Kind, tuple[float, float]] = {
    "memory alarm": (10, 15),
    "PostgreSQL read-only": (20, 20),
    # Longer than the worker waits for a lock.
    "push_lines locked": (10, 15),
    "outbox locked": (10, 15),
    "standby in PostgreSQL's place": (8, 12),
}
SHORT = (0, 5)


@dataclass(frozen=True)
class Disturbance:
    """`at` and `lasts` in seconds: when, and how long what is missing stays away."""

    at: float
    kind: Kind
    lasts: float


def plan(seed: int, seconds: float) -> list[list[Disturbance]]:
    """All disturbances of a run, spread over these seconds: lists that go on side by side, each in order of time."""
    chance = random.Random(f"{seed} disturbances")
    kills = sorted(chance.uniform(4, seconds) for _ in range(KILLS))
    return [
        [Disturbance(at, "worker killed", 0.0) for at in kills],
        *(_one_after_another(chance, kinds, seconds) for kinds in (RABBITMQ, POSTGRESQL)),
    ]


def _one_after_another(chance: random.Random, kinds: Sequence[Kind], seconds: float) -> list[Disturbance]:
    shuffled = chance.sample(kinds, len(kinds))
    slot = seconds / (len(kinds) + 1)
    return [
        Disturbance((number + chance.uniform(0.6, 1.2)) * slot, kind, chance.uniform(*LASTS.get(kind, SHORT)))
        for number, kind in enumerate(shuffled)
    ]


class Disturber:
    """Carries the plan out in threads of its own, and calls `put_backlog` at its time. `done` counts."""

    def __init__(
        self,
        seed: int,
        seconds: float,
        workers: Workers,
        installation: Installation,
        put_backlog: Callable[[], None],
    ) -> None:
        self._chance = random.Random(f"{seed} victims")
        self._workers, self._installation, self._put_backlog = workers, installation, put_backlog
        self._rabbitmq, self._postgresql = installation.rabbitmq, installation.postgresql
        self._stop, self._started = threading.Event(), monotonic()
        self.done: Counter[str] = Counter()
        self._plan = plan(seed, seconds)
        self._pool = ThreadPoolExecutor(len(self._plan), "disturber")

    def __enter__(self) -> "Disturber":
        self._parts = [self._pool.submit(self._carry_out, part) for part in self._plan]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def join(self) -> None:
        """Wait until all has been done. Raises what kept it from being done."""
        for part in self._parts:
            part.result()

    def _carry_out(self, planned: Sequence[Disturbance]) -> None:
        for one in planned:
            if self._stop.wait(max(0.0, self._started + one.at - monotonic())):
                return
            self._do(one)
            self.done[one.kind] += 1

    def _do(self, one: Disturbance) -> None:
        match one.kind:
            case "worker killed":
                while not self._workers.kill(self._chance) and not self._stop.wait(0.1):
                    pass
            case "memory alarm":
                self._rabbitmq.memory_alarm(on=True)
                self._stop.wait(one.lasts)
                self._rabbitmq.memory_alarm(on=False)
            case "RabbitMQ restarted":
                self._away(self._rabbitmq.stop, one.lasts, self._rabbitmq.start)
            case "RabbitMQ killed":
                self._away(self._rabbitmq.kill, one.lasts, self._rabbitmq.start)
            case "PostgreSQL restarted":
                self._away(self._postgresql.stop, one.lasts, self._postgresql.start)
            case "PostgreSQL stopped at once":
                self._away(self._postgresql.stop_at_once, one.lasts, self._postgresql.start)
            case "PostgreSQL connections terminated":
                self._postgresql.terminate_connections()
            case "PostgreSQL read-only":
                self._postgresql.read_only(on=True)
                self._stop.wait(one.lasts)
                self._postgresql.read_only(on=False)
            case "push_lines locked" | "outbox locked":
                self._lock(one.kind.removesuffix(" locked"), one.lasts)
            case "standby in PostgreSQL's place":
                self._fail_over(one.lasts)
            case "backlog of large messages":
                self._put_backlog()

    def _away(self, stop: Callable[[], None], lasts: float, start: Callable[[], None]) -> None:
        stop()
        self._stop.wait(lasts)
        start()

    def _lock(self, table: str, lasts: float) -> None:
        """Nobody reads or writes the table for a time, as while it is altered."""
        with psycopg.connect(self._postgresql.url) as connection:
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
            self._stop.wait(lasts)

    def _fail_over(self, lasts: float) -> None:
        """The primary's address leads to the standby for a time; who connected meanwhile stays there."""
        proxy, standby = self._installation.proxy, self._installation.standby
        proxy.target = standby.port
        proxy.cut()
        self._stop.wait(lasts)
        until = monotonic() + LASTS["standby in PostgreSQL's place"][1]
        # Just now the workers may all have been killed.
        while not proxy.open_to(standby.port) and monotonic() < until:
            self._stop.wait(0.05)
        proxy.target = self._postgresql.port
        self.done["connections left with the standby"] += proxy.open_to(standby.port)
