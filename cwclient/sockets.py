"""Sockets that keep the budget of the call they serve, and note how far that call has come.

A timeout of the HTTP libraries starts anew with every piece that arrives, so a server that sends one byte at a time
can hold a call for ever. Here every step, also on a pooled connection, gets what is left of the call's own deadline.
"""

import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cwclient.address import AddressPolicy
from cwclient.errors import ServerTrouble, Unreachable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


@dataclass(frozen=True)
class CallBudget:
    """The limits of one call: seconds per connect step, per read, and in total.

    `max_body` is in bytes, and counts all that comes off the wire: the answer's headers too.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0
    max_body: int = 16 * 1024 * 1024


@dataclass
class Call:
    """One call under way: its limits, and what has happened so far."""

    policy: AddressPolicy
    budget: CallBudget
    deadline: float  #: on the clock of time.monotonic()
    fresh: bool = False  #: use no pooled connection
    opened: bool = False  #: a connection was opened for it
    sent: bool = False  #: the request, as far as it was written, was handed over whole
    received: int = 0  #: bytes of the answer

    def seconds_left(self, limit: float) -> float:
        """At most `limit`. Raises TimeoutError after the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this call is used up")
        return min(limit, left)


#: The call that this thread is making. A context variable, as the HTTP libraries open the sockets, deep inside.
CALL: ContextVar[Call] = ContextVar("CALL")


class BudgetSocket(socket.socket):
    """A TCP socket that serves CALL."""

    def settimeout(self, value: float | None) -> None:
        """Set the timeout of each step. The HTTP libraries set it anew for each call: a system call if it differs."""
        if value != self.gettimeout():
            super().settimeout(value)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        """Receive within the call's time and size."""
        call = CALL.get()
        self.settimeout(call.seconds_left(call.budget.read))
        count = super().recv_into(buffer, nbytes or memoryview(buffer).nbytes, flags)
        call.received += count
        if call.received > call.budget.max_body:
            raise ServerTrouble(f"The answer is larger than {call.budget.max_body} bytes.", sent=True)
        return count

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Send a request within the call's time. Only if all of it passes has anything been sent."""
        call = CALL.get()
        call.sent = False
        self.settimeout(call.seconds_left(call.budget.read))
        super().sendall(data, flags)
        call.sent = True


class BudgetTLSSocket(BudgetSocket, ssl.SSLSocket):
    """A TLS socket that serves CALL."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 (the signature is ssl's)
        """Shake hands within the connect time."""
        call = CALL.get()
        self.settimeout(call.seconds_left(call.budget.connect))
        super().do_handshake(block)

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """Send a piece of what `sendall` sends."""
        call = CALL.get()
        self.settimeout(call.seconds_left(call.budget.read))
        return super().send(data, flags)


def open_connection(scheme: str, host: str, port: int) -> socket.socket:
    """Connect to the first address of `host` that answers: the very addresses that the policy has checked.

    Raises ForbiddenHost, or Unreachable (not sent).
    """
    call = CALL.get()
    call.opened = True
    failure: OSError | None = None
    try:
        for address in _resolve(call, scheme, host):
            try:
                return _connect(call, address, port)
            except OSError as error:
                failure = error
    except TimeoutError as error:
        failure = error
    raise Unreachable(f"No connection to {host}, port {port}: {failure}.", sent=False) from failure


def _resolve(call: Call, scheme: str, host: str) -> list[str]:
    # The system's resolver takes no timeout, so it is left behind on its own thread if it takes too long.
    executor = ThreadPoolExecutor(1, thread_name_prefix="resolve")
    try:
        return executor.submit(call.policy.addresses, scheme, host).result(call.seconds_left(call.budget.connect))
    except TimeoutError:
        raise TimeoutError("the name server did not answer in time") from None
    finally:
        executor.shutdown(wait=False)


def _connect(call: Call, address: str, port: int) -> socket.socket:
    sock = BudgetSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(call.seconds_left(call.budget.connect))
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
