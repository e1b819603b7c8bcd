"""A dry run: what a replay of dead letters would do."""

from collections.abc import Sequence
from dataclasses import dataclass

from messages import PushRequested, RevertRequested
from store import Database, Tx, pushes, reopening, replays
from worker.operations.questions import in_full, keys_of, push_of


@dataclass(frozen=True)
class ReplayPreview:
    """The effect of a replay: letters by (kind, reason), lines overtaken by newer pushes, letters too large."""

    counts: dict[tuple[str, str], int]
    overtaken: int
    too_large: int


def preview_replay(database: Database, letter_ids: Sequence[str]) -> ReplayPreview:
    """Find out what a replay of these letters would do, changing nothing."""
    counts: dict[tuple[str, str], int] = {}
    overtaken = too_large = 0
    for letter in in_full(database, letter_ids):
        if replays.is_too_large(letter.properties):
            too_large += 1
            continue
        key = (letter.kind or "", letter.reason)
        counts[key] = counts.get(key, 0) + 1
        push = push_of(letter)
        if push is not None:
            with database.begin() as tx:
                overtaken += lines_overtaken(tx, push)
    return ReplayPreview(counts, overtaken, too_large)


def lines_overtaken(tx: Tx, push: PushRequested | RevertRequested) -> int:
    """The number of its lines that a replay would not write; 0 for a revert that was never accepted."""
    if isinstance(push, PushRequested) and pushes.find(tx, push.partner_id, push.push_id) is None:
        return reopening.count_overtaken_if_new(tx, push)
    stored = pushes.lines(tx, push.partner_id, keys_of(push)).values()
    return reopening.count_overtaken(tx, [line for line in stored if line.status == "failed"])
