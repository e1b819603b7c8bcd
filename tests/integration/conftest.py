"""Fixtures of the tests of cwclient."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from cwclient import AddressPolicy, CallBudget
from cwclient.transport import Transport
from tests.support.raw_server import Server
from tests.support.waiting import within

SHORT = CallBudget(connect=within(0.5), read=within(0.3), total=within(0.5), max_body=100_000)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server of these talks."""
    with ExitStack() as stack:
        yield lambda *talks: stack.enter_context(closing(Server(*talks)))


@pytest.fixture
def connect() -> Iterator[Callable[..., Transport]]:
    """Make a transport that may speak to loopback."""
    loopback = AddressPolicy(["127.0.0.0/8"])
    with ExitStack() as stack:
        yield lambda budget=SHORT, policy=loopback: stack.enter_context(closing(Transport(policy, budget)))
