"""RabbitMQ and PostgreSQL servers of a test's own, on ports of their own: to restart, kill and starve.

From this machine's programs, else in containers. Each is a context manager: it starts, and everything of it ends with
the block. Making one raises `Missing` if there is neither program nor Docker; in tests `own` skips then.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from cwclient.simulator.certificates import TlsFiles
from tests.support.own_servers.base import OwnServer
from tests.support.own_servers.places import Missing
from tests.support.own_servers.postgresql import OwnPostgresql
from tests.support.own_servers.rabbitmq import OwnRabbitMQ
from tests.support.own_servers.standby import Standby

__all__ = ["Missing", "OwnPostgresql", "OwnRabbitMQ", "Standby", "own", "own_standby"]

S = TypeVar("S", bound=OwnServer)


@contextmanager
def own(kind: Callable[..., S], **options: bool | str | TlsFiles) -> Iterator[S]:
    """A server of this kind that runs; without one the test is skipped, in CI it fails."""
    with _made(lambda: kind(**options)) as server:
        yield server


@contextmanager
def own_standby(primary: OwnPostgresql) -> Iterator[Standby]:
    """A standby of it that runs; else as `own`."""
    with _made(lambda: Standby(primary)) as server:
        yield server


def _made(make: Callable[[], S]) -> S:
    try:
        return make()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
