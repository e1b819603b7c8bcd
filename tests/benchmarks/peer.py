"""Other frameworks as contestants: each does the same work for a line, which is one message of its own."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import pika
import psycopg

from tests.benchmarks.contestant import Contestant
from tests.benchmarks.peers.line import CONCURRENCY, PREFETCH, TABLE, PeerLine
from tests.benchmarks.results_queue import Answer, ResultsQueue
from tests.benchmarks.scenario import PERIOD, Line, Scenario
from tests.benchmarks.stub import StubConnectWise
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
# Queues and exchanges that Celery makes for delays beside every quorum queue, whatever its name.
CELERY_DELAYED, CELERY_LEVELS = "celery_delayed", 28
PROGRAMS = ROOT / ".venv-bench/bin"
Encode = Callable[[str, PeerLine], tuple[pika.BasicProperties, object]]
"""A work queue and a line, as the properties and the JSON body of a message."""


class Peer(Contestant):
    """One framework on queues and a database of its own; `peer` makes it."""

    def __init__(
        self, name: str, command: Sequence[str], encode: Encode, processes: int, environment: Mapping[str, str]
    ) -> None:
        self.name, self._command, self._encode, self._processes = name, command, encode, processes
        self._environment = environment
        self._url, self._queue = environment["PEER_BROKER_URL"], environment["PEER_WORK_QUEUE"]
        self._running: list[subprocess.Popen[bytes]] = []
        self.results = ResultsQueue(self._url, environment["PEER_RESULTS_QUEUE"])

    def start(self) -> list[int]:
        """Start the processes, and return once they consume."""
        for _ in range(self._processes):
            with Path(self._environment["PEER_LOG"]).open("ab") as log:
                self._running.append(
                    subprocess.Popen(
                        [str(PROGRAMS / self._command[0]), *self._command[1:]],
                        env=dict(self._environment),
                        stdout=log,
                        stderr=log,
                        cwd=ROOT,
                    )
                )
        wait_for(lambda: self._consumers() >= self._processes, f"{self.name}'s consumers", 120)
        return [process.pid for process in self._running]

    def send(self, lines: Sequence[Line]) -> None:
        """Publish one message a line."""
        push_ids = {line.partner: str(uuid.uuid4()) for line in lines}
        messages = [_peer_line(line, push_ids[line.partner]) for line in lines]
        self.results.expect(Answer(message.push_id, message.company_id) for message in messages)
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            for message in messages:
                if message is messages[-1]:
                    # Once it is confirmed those before it are in the queue, too: messages have got lost when not.
                    channel.confirm_delivery()
                properties, body = self._encode(self._queue, message)
                channel.basic_publish("", self._queue, json.dumps(body).encode(), properties)

    def rest(self) -> None:
        """Return at once: a peer has nothing more to do than lines."""

    def stop(self) -> None:
        """Let the processes end."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(60)
        self._running.clear()

    def kill(self) -> None:
        """End what an error has left running."""
        for process in self._running:
            process.kill()
            process.wait()

    def _consumers(self) -> int:
        assert all(process.poll() is None for process in self._running), f"{self.name} ended, see its log"
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            try:
                declared = connection.channel().queue_declare(self._queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return 0  # it has not declared it yet
            return int(declared.method.consumer_count)


def _peer_line(line: Line, push_id: str) -> PeerLine:
    return PeerLine(
        partner_id=f"p{line.partner}",
        company_id=f"c{line.company}",
        period=str(PERIOD),
        push_id=push_id,
        addition_id=line.addition,
        users=line.users,
    )


def _plain(_: str, line: PeerLine) -> tuple[pika.BasicProperties, object]:
    return pika.BasicProperties(content_type="application/json", delivery_mode=2), asdict(line)


def _for_dramatiq(queue: str, line: PeerLine) -> tuple[pika.BasicProperties, object]:
    body = {
        "queue_name": queue,
        "actor_name": "sync_line",
        "args": [],
        "kwargs": asdict(line),
        "options": {},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": 0,
    }
    return pika.BasicProperties(delivery_mode=2), body


def _for_celery(_: str, line: PeerLine) -> tuple[pika.BasicProperties, object]:
    task_id = str(uuid.uuid4())
    headers = {"lang": "py", "task": "sync_line", "id": task_id, "root_id": task_id, "parent_id": None, "group": None}
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        correlation_id=task_id,
        delivery_mode=2,
    )
    return properties, [[], asdict(line), {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


_MODULES = "tests.benchmarks.peers"
PEERS: Mapping[str, tuple[Sequence[str], Encode]] = {
    "dramatiq": (
        ("dramatiq", f"{_MODULES}.dramatiq_peer", "--processes", "1", "--threads", str(CONCURRENCY)),
        _for_dramatiq,
    ),
    "celery": (
        (
            *("celery", "-A", f"{_MODULES}.celery_peer", "worker", "--pool", "threads"),
            *("--concurrency", str(CONCURRENCY), "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        _for_celery,
    ),
    "faststream": (("python", "-m", f"{_MODULES}.faststream_peer"), _plain),
}


@contextmanager
def peer(
    name: str, broker_url: str, database_url: str, folder: Path, scenario: Scenario, stub: StubConnectWise
) -> Iterator[Peer]:
    """A peer by its name; nothing runs yet."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    environment = {
        **os.environ,
        "PEER_BROKER_URL": broker_url,
        "PEER_DATABASE_URL": database_url,
        "PEER_SITE_URL": stub.url,
        "PEER_WORK_QUEUE": f"{prefix}.work",
        "PEER_RESULTS_QUEUE": f"{prefix}.results",
        "PEER_LOG": str(folder / f"{name}.log"),
        "dramatiq_queue_prefetch": str(PREFETCH),
    }
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        connection.execute(TABLE)
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as broker:
        broker.channel().queue_declare(f"{prefix}.results", durable=True, arguments={"x-queue-type": "quorum"})
    had_celery = _exists(broker_url, f"{CELERY_DELAYED}_0")
    command, encode = PEERS[name]
    contestant = Peer(name, command, encode, scenario.processes, environment)
    try:
        with contestant.results:
            yield contestant
    finally:
        contestant.kill()
        _remove(broker_url, [f"{prefix}.{queue}" for queue in ("work", "work.DQ", "work.XQ", "results")], [])
        if not had_celery:
            levels = [f"{CELERY_DELAYED}_{level}" for level in range(CELERY_LEVELS)]
            _remove(broker_url, levels, [*levels, f"{CELERY_DELAYED}_delivery"])


def _exists(broker_url: str, queue: str) -> bool:
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


def _remove(broker_url: str, queues: Sequence[str], exchanges: Sequence[str]) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue)
        for exchange in exchanges:
            channel.exchange_delete(exchange)
