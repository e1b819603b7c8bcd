"""The fates of replayed dead letters: handled with all their lines, or back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from store import Tx, dead_letter_queries, line_results, pushes
from store.dead_letter_queries import DeadLetterFilter, DeadLetterSummary, StoredDeadLetter
from store.operation_queries import OperationLetter
from store.pushes import LineKey
from worker.operations.questions import keys_of, push_of


@dataclass
class SentLetter:
    """A letter that was replayed; `lines` are those of its push, if it holds one."""

    row: OperationLetter
    partner_id: str = ""
    lines: frozenset[LineKey] = field(default_factory=frozenset)

    @property
    def is_decided(self) -> bool:
        """True once it was handled, or came back."""
        return self.row.state != "sent"


def sent_letter(row: OperationLetter, letter: StoredDeadLetter | None) -> SentLetter:
    """A replayed letter with the lines that its body names; None = the letter was pruned since."""
    push = None if letter is None else push_of(letter)
    return SentLetter(row) if push is None else SentLetter(row, push.partner_id, keys_of(push))


def update(tx: Tx, waiting: Sequence[SentLetter]) -> list[SentLetter]:
    """Update the states of these letters; returns those that are decided now."""
    now = _found(tx, waiting)
    handled = [one for one in waiting if _is_applied(one, now.get(one.row.letter_id)) and _has_ended(tx, one)]
    # Lines that fail again are put back into their letter in the same transaction, so the letter is read after them.
    later = _found(tx, handled)
    for one in handled:
        if _is_applied(one, later.get(one.row.letter_id)):
            one.row = replace(one.row, state="done")
    return [one for one in waiting if one.is_decided]


def _found(tx: Tx, letters: Sequence[SentLetter]) -> dict[str, DeadLetterSummary]:
    if not letters:
        return {}
    ids = tuple(one.row.letter_id for one in letters)
    return {letter.id: letter for letter in dead_letter_queries.newest(tx, DeadLetterFilter(ids=ids), len(ids))}


def _is_applied(one: SentLetter, letter: DeadLetterSummary | None) -> bool:
    """True if a worker has handled the replay. One that is back is decided."""
    if letter is None:
        # A letter that is gone was handled, and pruned since.
        return True
    if letter.returns > (one.row.returns_before or 0) or letter.state == "open":
        one.row = replace(one.row, state="came back", problem=f"{letter.reason}: {letter.error}")
        return False
    return letter.applied >= (one.row.number or 0)


def _has_ended(tx: Tx, one: SentLetter) -> bool:
    """True if all its lines have ended, and so has the push if these were its last lines."""
    lines = pushes.lines(tx, one.partner_id, one.lines).values()
    one.row = replace(
        one.row,
        overtaken=sum(line.status == "superseded" for line in lines),
        failed=sum(line.status == "failed" for line in lines),
    )
    if any(line.is_open for line in lines):
        return False
    unfinished = {line.push.push_id for line in lines if line.push.state == "accepted"}
    return not any(_is_all_answered(tx, one.partner_id, push_id) for push_id in unfinished)


def _is_all_answered(tx: Tx, partner_id: str, push_id: str) -> bool:
    done, total = line_results.progress(tx, partner_id, push_id)
    return done == total
