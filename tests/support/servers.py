"""The real servers that tests need: given by the environment, in containers, or on this machine's standard ports."""

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

import docker  # type: ignore[import-untyped]  # ships no types
import pika
import psycopg
import pytest
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer

from tests.support.waiting import wait_for, within

READY_WITHIN = 120.0

# The containers end with the session. The reaper, for sessions that are killed, would be a third image to pull.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")


@dataclass(frozen=True)
class Server:
    """One kind of server. `url` has the host and port left open; `answers` logs in once."""

    name: str
    variable: str
    image: str
    port: int
    environment: Mapping[str, str]
    url: str
    local_url: str
    answers: Callable[[str], bool]

    @contextmanager
    def running(self) -> Iterator[str]:
        """The URL of the server to use; skips the test if there is none, in CI fails it."""
        with ExitStack() as stack:
            url = os.environ.get(self.variable) or self.contained(stack)
            if url is None and self.answers(self.local_url):
                url = self.local_url
            yield url or self._missing()

    def contained(self, stack: ExitStack) -> str | None:
        """The URL of one in a container, which ends with the stack; None if another is given, or Docker has none."""
        if os.environ.get(self.variable) or not docker_answers():
            return None
        container = DockerContainer(self.image, env=dict(self.environment), ports=[self.port])
        try:
            stack.enter_context(container)
        except (DockerException, OSError):
            return None  # it has no such image, and cannot get it
        url = self.url.format(container.get_container_host_ip(), container.get_exposed_port(self.port))
        # Logging in is the only proof: both servers listen before they serve.
        wait_for(lambda: self.answers(url), f"{self.name} in its container", READY_WITHIN)
        return url

    def _missing(self) -> NoReturn:
        reason = f"no {self.name}: start Docker, or a server on port {self.port} here, or set {self.variable}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def address(url: str) -> tuple[str, int]:
    """Host and port of an AMQP URL."""
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or RABBITMQ.port


def docker_answers() -> bool:
    """True if there is a container engine."""
    with warnings.catch_warnings():
        # Where no engine listens, the client leaves its sockets to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping_docker()
        gc.collect()
        return answers


def _ping_docker() -> bool:
    try:
        with closing(docker.from_env()) as client:
            return bool(client.ping())
    except DockerException:
        return False


def _rabbitmq_answers(url: str) -> bool:
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


def _postgresql_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=round(within(5))).close()
    except psycopg.OperationalError:
        return False
    return True


RABBITMQ = Server(
    name="RabbitMQ",
    variable="TEST_AMQP_URL",
    image="rabbitmq:4-management",
    port=5672,
    environment={},
    url="amqp://guest:guest@{}:{}/",
    local_url="amqp://guest:guest@127.0.0.1:5672/",
    answers=_rabbitmq_answers,
)

POSTGRESQL = Server(
    name="PostgreSQL",
    variable="TEST_DATABASE_URL",
    image="postgres:17",
    port=5432,
    environment={"POSTGRES_PASSWORD": "postgres"},
    url="postgresql://postgres:postgres@{}:{}/postgres",
    local_url="postgresql://postgres@127.0.0.1:5432/postgres",
    answers=_postgresql_answers,
)
