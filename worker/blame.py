"""The choice between the whole connection and one record as the culprit of a refusal.

An answer that may blame the connection is believed when a second one says the same.
"""

from collections.abc import Callable, Collection
from threading import Lock
from time import monotonic
from typing import TypeVar

from cwclient import (
    BadCredentials,
    CertificateRefused,
    ConnectWiseError,
    ForbiddenHost,
    MissingRight,
    UnknownCompany,
    Unreachable,
    WrongRoute,
)
from store.mappings import Addition

T = TypeVar("T")

OF_NO_RECORD = (CertificateRefused, ForbiddenHost, UnknownCompany)
"""The errors that say nothing of a record, whatever was asked for: they are the host's, or of one node behind it."""

OF_THE_CONNECTION = (BadCredentials, *OF_NO_RECORD)
"""The errors that blame the whole connection, and may yet be a server's slip, or about one record."""

REFUSED_IN_A_ROW = 4
"""So many additions whose reads, or writes, are refused while no other is answered are a matter of the connection."""


class Unconfirmed(Exception):
    """An answer that blames the whole connection, which no other has confirmed (yet): it passes, or is about a record.

    `met` is the answer.
    """

    def __init__(self, met: ConnectWiseError) -> None:
        super().__init__(met.message)
        self.met = met


class WriteRefused(Unconfirmed):
    """A write that was refused as such (401, 403); no read can tell whether others would be, see `of_write`."""


class RecordDenied(Unconfirmed):
    """A write that was refused although others are taken: it is about this record."""


def of_write(
    refused: WriteRefused, addition: Addition, before: Collection[Addition], *, taken: bool
) -> Unconfirmed | None:
    """Return the error of a refused write that is not about the connection, None = it is; only other writes can tell.

    `taken`: ConnectWise took one since the push was accepted; `before`: the additions whose writes it refused since.
    """
    if taken:
        return RecordDenied(refused.met) if isinstance(refused.met, MissingRight) else Unconfirmed(refused.met)
    if addition in before or len(before) + 1 >= REFUSED_IN_A_ROW:
        return None
    return Unconfirmed(refused.met)


def as_it_may_pass(error: WrongRoute) -> ConnectWiseError:
    """Where the API has answered before, a redirect or a web server's 404 is maintenance, like a page by 200."""
    status = error.status or 0
    if not (300 <= status < 400 or status == 404):
        return error
    passing = Unreachable(error.message, sent=True, status=error.status)
    passing.said = error.said
    return passing


def twice(call: Callable[[], T]) -> T:
    """Make a call that is about nothing but the connection, and again before it is blamed."""
    try:
        return call()
    except OF_THE_CONNECTION:
        return call()


class Confirmation:
    """Asks by one call, for all that were under way, whether it is the connection. Safe from several threads.

    `ask` returns what blames the connection, or keeps anybody from telling now; None = it is fine.
    """

    def __init__(self, ask: Callable[[], ConnectWiseError | None]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._asked_at = 0.0
        self._met: ConnectWiseError | None = None

    def get(self, begun: float) -> None:
        """Return if the connection is fine, for a call that was begun at this monotonic time; else raise."""
        with self._lock:
            if self._asked_at < begun:
                self._met = self._ask()
                self._asked_at = monotonic()
            if self._met is not None:
                raise self._met
