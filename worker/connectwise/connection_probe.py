"""The second opinion about a connection: an error that blames it is believed once another call meets one too."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import TypeVar

from cwclient import ConnectWiseError
from worker.rules.errors import OF_THE_CONNECTION

T = TypeVar("T")


class ConnectionProbe:
    """Asks once, for all calls that were under way, if the connection is at fault. Safe from several threads.

    `ask` makes one call, and returns the error that it met; None = the connection is fine.
    """

    def __init__(self, ask: Callable[[], ConnectWiseError | None]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._asked_at = 0.0
        self._error: ConnectWiseError | None = None

    def check(self, begun: float) -> None:
        """Raise the probe's error, for a call that was begun at this monotonic time, unless the connection is fine."""
        with self._lock:
            if self._asked_at < begun:
                self._error = self._ask()
                self._asked_at = monotonic()
            if self._error is not None:
                raise self._error


def call_twice(call: Callable[[], T]) -> T:
    """Make a call that is about nothing but the connection; once more if it blames that."""
    try:
        return call()
    except OF_THE_CONNECTION:
        return call()
