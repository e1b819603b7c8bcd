"""What goes wrong in a run, and when; all by the seed. Kills, restarts and the alarm come one after the other."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from tests.chaos.workers import Workers
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ

Kind = Literal[
    "worker killed",
    "RabbitMQ restarted",
    "RabbitMQ killed",
    "PostgreSQL restarted",
    "PostgreSQL stopped at once",
    "PostgreSQL connections terminated",
    "memory alarm",
]
KILLS = 22
SERVERS: Sequence[Kind] = (
    "RabbitMQ restarted",
    "RabbitMQ restarted",
    "RabbitMQ killed",
    "PostgreSQL restarted",
    "PostgreSQL restarted",
    "PostgreSQL stopped at once",
    "PostgreSQL connections terminated",
    "memory alarm",
)


@dataclass(frozen=True)
class Disturbance:
    """`at` and `lasts` in seconds: when, and how long the server stays away."""

    at: float
    kind: Kind
    lasts: float


def plan(seed: int, seconds: float) -> list[Disturbance]:
    """All disturbances of a run in order of time, spread over these seconds."""
    chance = random.Random(f"{seed} disturbances")
    servers = list(SERVERS)
    chance.shuffle(servers)
    slot = seconds / (len(servers) + 1)
    planned = [
        Disturbance((number + chance.uniform(0.6, 1.2)) * slot, kind, chance.uniform(10, 15))
        if kind == "memory alarm"
        else Disturbance((number + chance.uniform(0.6, 1.2)) * slot, kind, chance.uniform(0, 5))
        for number, kind in enumerate(servers)
    ]
    planned += [Disturbance(chance.uniform(4, seconds), "worker killed", 0.0) for _ in range(KILLS)]
    return sorted(planned, key=lambda one: one.at)


class Disturber:
    """Carries the plan out in threads of its own: one for the kills, one for the servers. `done` counts by kind."""

    def __init__(
        self, seed: int, seconds: float, workers: Workers, rabbitmq: OwnRabbitMQ, postgresql: OwnPostgresql
    ) -> None:
        self._chance = random.Random(f"{seed} victims")
        self._workers, self._rabbitmq, self._postgresql = workers, rabbitmq, postgresql
        self._stop, self._started = threading.Event(), monotonic()
        self.done: Counter[Kind] = Counter()
        planned = plan(seed, seconds)
        kills = [one for one in planned if one.kind == "worker killed"]
        others = [one for one in planned if one.kind != "worker killed"]
        self._threads = [
            threading.Thread(target=self._carry_out, args=(part,), name="disturber") for part in (kills, others)
        ]

    def __enter__(self) -> "Disturber":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Wait until all has been done."""
        for thread in self._threads:
            thread.join()

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

    def _away(self, stop: Callable[[], None], lasts: float, start: Callable[[], None]) -> None:
        stop()
        self._stop.wait(lasts)
        start()
