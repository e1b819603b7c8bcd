"""The choice between the whole connection and one record as the culprit of a refusal.

An answer that may blame the connection is believed when a second one says the same.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
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
from store import Tx, ledger
from store.connections import ConnectionVersion
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
    """A write that was refused as such (401, 403); no read can tell whether others would be, see `Writes`."""


class RecordDenied(Unconfirmed):
    """A write that was refused although others are taken: it is about this record."""


@dataclass
class Writes:
    """The additions by ConnectWise's last answer to a write, under one version of the connection.

    `refused`: 401 or 403, and not taken since; `in_a_row`: those of them that met it first since any write was taken.
    """

    taken: set[Addition] = field(default_factory=set)
    refused: set[Addition] = field(default_factory=set)
    in_a_row: set[Addition] = field(default_factory=set)

    @classmethod
    def stored(cls, tx: Tx, connection: ConnectionVersion, taken: Collection[Addition]) -> "Writes":
        """Return them as the ledger tells; `taken`: those that were taken just now, which it may not know yet."""
        writes = cls()
        answers = ledger.write_answers(tx, connection.partner_id, connection.tenant or "", connection.changed_at)
        for addition, is_taken in [*answers, *((addition, True) for addition in taken)]:
            (writes.note_taken if is_taken else writes._note_refused)(addition)
        return writes

    def note_taken(self, addition: Addition) -> None:
        """ConnectWise took a write."""
        self.taken.add(addition)
        self.refused.discard(addition)
        self.in_a_row.clear()

    def _note_refused(self, addition: Addition) -> None:
        """ConnectWise refused a write."""
        self.taken.discard(addition)
        # One that was refused before others were taken tells nothing new.
        if addition not in self.refused:
            self.refused.add(addition)
            self.in_a_row.add(addition)

    def blame(self, refused: WriteRefused, addition: Addition) -> Unconfirmed | None:
        """Note a refused write; return the error of the record, Unconfirmed = nobody can tell yet.

        None = it is the connection: several are refused in a row, or one again while none is known to be taken.
        """
        again = addition in self.refused
        self._note_refused(addition)
        if len(self.in_a_row) >= REFUSED_IN_A_ROW or (again and not self.taken):
            return None
        is_record = again and isinstance(refused.met, MissingRight)
        return RecordDenied(refused.met) if is_record else Unconfirmed(refused.met)


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
