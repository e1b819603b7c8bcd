"""The history of a run, as plain data that the checker judges, and that its tests make by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from messages import ConnectionChanged, MappingChanged, Message, PushRequested, SyncResult

Place = tuple[str, int]
"""An addition: (partner id, addition id)."""

Days = tuple[date, date]

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""A time before every push, for a PATCH whose own does not matter."""


@dataclass(frozen=True)
class Patch:
    """A PATCH that reached ConnectWise and was applied. `fault`: what happened to its answer, None = it was sent."""

    partner_id: str
    addition_id: int
    before: float
    value: float
    time: datetime = LONG_AGO
    fault: str | None = None

    @property
    def place(self) -> Place:
        """The addition."""
        return (self.partner_id, self.addition_id)


@dataclass(frozen=True)
class Entry:
    """A row of the ledger; `outcome` None = open."""

    id: int
    partner_id: str
    addition_id: int
    push_id: str
    companies: tuple[str, ...]
    period: Days
    before: float | None
    wanted: float
    after: float | None
    outcome: str | None

    @property
    def place(self) -> Place:
        """The addition."""
        return (self.partner_id, self.addition_id)


@dataclass(frozen=True)
class Target:
    """A row of syncs; `addition_id` is the addition that was made to hold it, None if the line ended otherwise."""

    partner_id: str
    company_id: str
    period: Days
    push_id: str
    settled: bool
    addition_id: int | None


@dataclass
class History:
    """All of a run, in the order in which it happened.

    `buried` = (push id, company id) of every line in a dead letter; `blamed` = the kind of each dead letter whose
    message is said to have crashed the worker or met a bug of it; `stored` = the version of each (partner, company)'s
    mapping, or of each (partner, "")'s connection, in the store; `quantities` = what ConnectWise holds at the end;
    `starved` = the workers that their memory limit ended.
    """

    published: Sequence[Message] = ()
    received: Sequence[Message] = ()
    patches: Sequence[Patch] = ()
    entries: Sequence[Entry] = ()
    targets: Sequence[Target] = ()
    buried: frozenset[tuple[str, str]] = frozenset()
    blamed: Sequence[str] = ()
    stored: dict[tuple[str, str], datetime] = field(default_factory=dict)
    quantities: dict[Place, float] = field(default_factory=dict)
    starved: Sequence[str] = ()

    @property
    def pushes(self) -> dict[str, PushRequested]:
        """The pushes, by id."""
        return {message.push_id: message for message in self.published if isinstance(message, PushRequested)}

    @property
    def mappings(self) -> dict[tuple[str, str], list[MappingChanged]]:
        """The versions of each (partner, company)'s mapping, oldest first."""
        found: dict[tuple[str, str], dict[datetime, MappingChanged]] = {}
        for message in self.published:
            if isinstance(message, MappingChanged):
                found.setdefault((message.partner_id, message.company_id), {})[message.changed_at] = message
        return {key: [versions[at] for at in sorted(versions)] for key, versions in found.items()}

    @property
    def connections(self) -> dict[str, datetime]:
        """The newest version of each partner's connection."""
        newest: dict[str, datetime] = {}
        for message in self.published:
            if isinstance(message, ConnectionChanged):
                newest[message.partner_id] = max(message.changed_at, newest.get(message.partner_id, message.changed_at))
        return newest

    @property
    def final(self) -> dict[tuple[str, str], dict[str, SyncResult]]:
        """The final results of each line (push id, company id), by message id."""
        found: dict[tuple[str, str], dict[str, SyncResult]] = {}
        for message in self.received:
            if isinstance(message, SyncResult) and message.status != "retrying":
                found.setdefault((message.push_id, message.company_id), {})[str(message.id)] = message
        return found


def by_place(things: Iterable[Patch]) -> dict[Place, list[Patch]]:
    """PATCHes of each addition, in their order."""
    found: dict[Place, list[Patch]] = {}
    for thing in things:
        found.setdefault(thing.place, []).append(thing)
    return found
