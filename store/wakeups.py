"""Events wake the loops that take up due work: commits of this process, and whatever `due_watch` finds in the store."""

from threading import Event
from time import monotonic, sleep
from typing import Literal, get_args

from sqlalchemy import Connection

Kind = Literal["partners", "outbox", "deferred"]
"""Partners to be taken up; messages to be sent, or handled where there is no broker; deferred messages."""
# Under load each wait ends at most this often, so that many small commits are looked for together.
GATHER_SECONDS = 0.01


class Wakeups:
    """An event for each kind of due work. One loop of the process waits for each; anybody may ring."""

    def __init__(self) -> None:
        self._events = {kind: Event() for kind in get_args(Kind)}
        self._looked_at = dict.fromkeys(self._events, 0.0)

    def ring(self, *kinds: Kind) -> None:
        """Wake the loops of these kinds."""
        for kind in kinds:
            self._events[kind].set()

    def ring_all(self) -> None:
        """Wake all loops: they stop, or meet what stands in the way."""
        self.ring(*self._events)

    def wait(self, kind: Kind, seconds: float) -> bool:
        """Wait for a ring, at most so many seconds; False = none came.

        The ring is used up before the caller looks for work, so none is lost.
        """
        event = self._events[kind]
        has_rung = event.wait(seconds)
        if has_rung:
            sleep(max(0.0, self._looked_at[kind] + GATHER_SECONDS - monotonic()))
        self._looked_at[kind] = monotonic()
        event.clear()
        return has_rung


def wake_after(tx: Connection, kind: Kind) -> None:
    """Wake the loop of this kind once the transaction is committed."""
    noted(tx).add(kind)


def noted(tx: Connection) -> set[Kind]:
    """The kinds that wake when this transaction is committed."""
    kinds: set[Kind] = tx.info.setdefault("wakeups", set())
    return kinds
