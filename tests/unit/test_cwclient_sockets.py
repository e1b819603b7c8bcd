"""A socket keeps the budget of the call that it serves, and knows how far the call has come."""

import socket
import time
from collections.abc import Iterator

import pytest

from cwclient import AddressPolicy, CallBudget, ServerTrouble
from cwclient.sockets import CALL, BudgetSocket, Call

Pair = tuple[BudgetSocket, socket.socket]


@pytest.fixture
def call() -> Iterator[Call]:
    """Make a call that may take a minute and 10 bytes."""
    call = Call(AddressPolicy(), CallBudget(max_body=10), deadline=time.monotonic() + 60)
    token = CALL.set(call)
    yield call
    CALL.reset(token)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Make two connected sockets, one of them ours."""
    ours, theirs = socket.socketpair()
    with BudgetSocket(fileno=ours.detach()) as sock, theirs:
        yield sock, theirs


def test_a_request_counts_as_sent_only_when_all_of_it_was(call: Call, pair: Pair) -> None:
    """`sent` never denies that a write may have been applied, nor claims it when the body did not leave."""
    ours, theirs = pair
    assert not call.sent
    ours.sendall(b"head")
    assert call.sent
    theirs.close()
    with pytest.raises(OSError, match="pipe"):
        ours.sendall(b"body")
    assert not call.sent


def test_an_answer_is_counted_as_it_arrives(call: Call, pair: Pair) -> None:
    """The size limit covers everything that comes off the wire."""
    ours, theirs = pair
    theirs.sendall(b"x" * 11)
    buffer = bytearray(10)
    assert ours.recv_into(buffer, 3) == 3
    assert ours.recv_into(buffer, 7) == 7
    assert (call.received, bytes(buffer[:7])) == (10, b"x" * 7)
    with pytest.raises(ServerTrouble, match="larger than 10 bytes"):
        ours.recv_into(buffer)


def test_nothing_happens_after_the_deadline(call: Call, pair: Pair) -> None:
    """A call whose time is used up neither sends nor receives, even if it could."""
    ours, theirs = pair
    theirs.sendall(b"x")
    call.deadline = time.monotonic()
    with pytest.raises(TimeoutError, match="used up"):
        ours.recv_into(bytearray(1))
    with pytest.raises(TimeoutError, match="used up"):
        ours.sendall(b"x")
    assert not call.sent
