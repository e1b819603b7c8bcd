"""The lines of pushes that a dead letter holds, read from its body."""

from collections.abc import Iterator, Sequence

from messages import PushRequested, RevertRequested
from store import Database, dead_letter_queries
from store.dead_letter_queries import DeadLetterSummary, StoredDeadLetter
from store.pushes import LineKey
from worker.topology import KINDS

BODIES_AT_ONCE = 50
ASKING: dict[str | None, type[PushRequested] | type[RevertRequested]] = {
    "push.requested.v1": PushRequested,
    "revert.requested.v1": RevertRequested,
}
"""The events that contain lines, by kind."""


def can_be_replayed(letter: DeadLetterSummary) -> bool:
    """True if the letter names an exchange, or a queue of ours."""
    return letter.exchange is not None or letter.queue in KINDS


def in_full(database: Database, letter_ids: Sequence[str]) -> Iterator[StoredDeadLetter]:
    """All of these, few in memory at a time, and no transaction open between."""
    left = letter_ids
    while left:
        with database.begin() as tx:
            first = dead_letter_queries.first_that_fit(tx, left[:BODIES_AT_ONCE])
            some = dead_letter_queries.get_many(tx, first)
        yield from some
        left = left[len(first) :]


def push_of(letter: StoredDeadLetter) -> PushRequested | RevertRequested | None:
    """The push or revert that a letter holds; None if it holds another kind, or is sealed or cannot be read."""
    asking = ASKING.get(letter.kind)
    if asking is None or letter.sealed_with is not None:
        return None
    try:
        return asking.model_validate_json(letter.body, extra="ignore")
    except ValueError:
        return None


def keys_of(push: PushRequested | RevertRequested) -> frozenset[LineKey]:
    """The lines that the event names; none for the revert of a whole push."""
    if isinstance(push, RevertRequested):
        return frozenset((push.revert_id, company_id) for company_id in push.company_ids or ())
    return frozenset((push.push_id, line.company_id) for line in push.lines)
