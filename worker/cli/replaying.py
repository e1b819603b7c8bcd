"""Replays dead letters in growing batches, and stops when one of a batch fails again."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic, sleep

from rich.progress import Progress

from messages import PushRequested, RevertRequested
from store import Database, StoreError, Tx, dead_letter_queries, line_results, pushes, reopening, replays
from store.dead_letter_queries import DeadLetterFilter, DeadLetterSummary, StoredDeadLetter
from store.pushes import LineKey
from worker.topology import KINDS

BATCHES = (1, 2, 5, 20, 50, 100)
POLL_SECONDS = 0.2
BODIES_AT_ONCE = 50
ASKING: dict[str | None, type[PushRequested] | type[RevertRequested]] = {
    "push.requested.v1": PushRequested,
    "revert.requested.v1": RevertRequested,
}
"""The events that contain lines, by kind."""


class ReplayState(Enum):
    """The state of one replay."""

    UNDECIDED = "undecided"
    DONE = "done"
    CAME_BACK = "came back"


@dataclass
class SentReplay:
    """A letter that was replayed; `lines` are those of its push, if it holds one.

    `overtaken` of them were superseded by newer pushes; `failed` of them failed for reasons that make no dead letter.
    """

    letter: DeadLetterSummary
    number: int
    partner_id: str = ""
    lines: frozenset[LineKey] = frozenset()
    fate: ReplayState = ReplayState.UNDECIDED
    applied: bool = False
    overtaken: int = 0
    failed: int = 0
    problem: str = ""


@dataclass
class ReplayProgress:
    """The progress of a run; `left`: letters not sent yet, `too_large`: letters whose properties are too large."""

    replayed: list[SentReplay] = field(default_factory=list)
    left: int = 0
    too_large: int = 0
    stopped: str | None = None

    def having(self, fate: ReplayState) -> list[SentReplay]:
        """The letters in this state."""
        return [one for one in self.replayed if one.fate is fate]

    @property
    def overtaken(self) -> int:
        """The number of lines that newer pushes have superseded."""
        return sum(one.overtaken for one in self.replayed)

    @property
    def failed(self) -> int:
        """The number of lines that failed for reasons that make no dead letter."""
        return sum(one.failed for one in self.having(ReplayState.DONE))


@dataclass(frozen=True)
class ReplayPreview:
    """The effect of a replay: letters by (kind, reason), lines overtaken by newer pushes, letters too large."""

    counts: dict[tuple[str, str], int]
    overtaken: int
    too_large: int


def can_be_replayed(letter: DeadLetterSummary) -> bool:
    """True if the letter names an exchange, or a queue of ours."""
    return letter.exchange is not None or letter.queue in KINDS


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
        push = _push_of(letter)
        if push is not None:
            with database.begin() as tx:
                overtaken += _overtaken(tx, push)
    return ReplayPreview(counts, overtaken, too_large)


def in_full(database: Database, letter_ids: Sequence[str]) -> Iterator[StoredDeadLetter]:
    """All of these, few in memory at a time, and no transaction open between."""
    left = letter_ids
    while left:
        with database.begin() as tx:
            first = dead_letter_queries.first_that_fit(tx, left[:BODIES_AT_ONCE])
            some = dead_letter_queries.get_many(tx, first)
        yield from some
        left = left[len(first) :]


@dataclass
class ReplayRun:
    """One run of the command: `rate` letters a second at most; each batch may take `timeout` seconds to be decided."""

    database: Database
    by: str
    why: str | None
    rate: float | None
    timeout: float
    progress: ReplayProgress = field(default_factory=ReplayProgress)

    def run(self, letter_ids: Sequence[str], bar: Progress) -> None:
        """Replay batch by batch; `progress` tells how far it got, also if this is interrupted."""
        bar.update(bar.task_ids[0], total=len(letter_ids))
        left = list(letter_ids)
        self.progress.left = len(left)
        for size in _sizes():
            if not left or self.progress.stopped:
                return
            with self.database.begin() as tx:
                first = dead_letter_queries.first_that_fit(tx, left[:size])
            batch = [one for one in map(self._send, first) if one is not None]
            del left[: len(first)]
            self._wait(batch, bar)
            self.progress.stopped = _why_stop(batch, self.timeout) if left else None

    def _send(self, letter_id: str) -> SentReplay | None:
        """Replay a letter; None = it is no longer open, or too large."""
        if self.rate is not None and self.progress.replayed:
            sleep(1 / self.rate)
        self.progress.left -= 1
        try:
            with self.database.begin() as tx:
                letter = dead_letter_queries.get(tx, letter_id)
                replay = replays.replay(tx, letter_id, by=self.by, why=self.why)
        except replays.TooLarge:
            self.progress.too_large += 1
            return None
        if letter is None or replay is None:
            return None
        summary = DeadLetterSummary(**{name: getattr(letter, name) for name in DeadLetterSummary.__dataclass_fields__})
        one = SentReplay(summary, replay.number, *_lines_of(letter))
        self.progress.replayed.append(one)
        return one

    def _wait(self, batch: Sequence[SentReplay], bar: Progress) -> None:
        until = monotonic() + self.timeout
        while waiting := [one for one in batch if one.fate is ReplayState.UNDECIDED]:
            # The worker waits for the database too, so an error only costs time.
            with suppress(StoreError), self.database.begin() as tx:
                _update(tx, waiting)
            decided = len(self.progress.replayed) - len(self.progress.having(ReplayState.UNDECIDED))
            bar.update(bar.task_ids[0], completed=decided)
            if all(one.fate is not ReplayState.UNDECIDED for one in waiting) or monotonic() > until:
                return
            sleep(POLL_SECONDS)


def _sizes() -> Iterator[int]:
    yield from BATCHES
    while True:
        yield BATCHES[-1]


def _update(tx: Tx, waiting: Sequence[SentReplay]) -> None:
    """Update the states of these replays."""
    handled = [one for one in waiting if not _is_back(tx, one) and _is_handled(tx, one)]
    # Lines that fail again are put back into their letter in the same transaction, so the letter is read after them.
    for one in handled:
        if not _is_back(tx, one):
            one.fate = ReplayState.DONE


def _is_back(tx: Tx, one: SentReplay) -> bool:
    found = dead_letter_queries.newest(tx, DeadLetterFilter(ids=(one.letter.id,)), 1)
    for letter in found:
        one.applied = letter.applied >= one.number
        if letter.returns > one.letter.returns or letter.state == "open":
            one.fate, one.problem = ReplayState.CAME_BACK, f"{letter.reason}: {letter.error}"
    # A letter that is gone was handled, and pruned since.
    one.applied = one.applied or not found
    return one.fate is ReplayState.CAME_BACK


def _is_handled(tx: Tx, one: SentReplay) -> bool:
    """True if the replay was handled, all its lines have ended, and so has the push if these were its last lines."""
    if not one.applied:
        return False
    lines = pushes.lines(tx, one.partner_id, one.lines).values()
    one.overtaken = sum(line.status == "superseded" for line in lines)
    one.failed = sum(line.status == "failed" for line in lines)
    if any(line.is_open for line in lines):
        return False
    unfinished = {line.push.push_id for line in lines if line.push.state == "accepted"}
    return not any(_is_all_answered(tx, one.partner_id, push_id) for push_id in unfinished)


def _is_all_answered(tx: Tx, partner_id: str, push_id: str) -> bool:
    done, total = line_results.progress(tx, partner_id, push_id)
    return done == total


def _why_stop(batch: Sequence[SentReplay], timeout: float) -> str | None:
    back = [one for one in batch if one.fate is ReplayState.CAME_BACK]
    if back:
        return f"{len(back):,} of {len(batch):,} failed again, so no more are sent"
    if any(one.fate is ReplayState.UNDECIDED for one in batch):
        return f"not all were handled within {timeout:g} s, so no more are sent"
    return None


def _lines_of(letter: StoredDeadLetter) -> tuple[str, frozenset[LineKey]]:
    """The partner and lines of the letter's push; none if it holds no readable push."""
    push = _push_of(letter)
    return ("", frozenset()) if push is None else (push.partner_id, _keys_of(push))


def _push_of(letter: StoredDeadLetter) -> PushRequested | RevertRequested | None:
    asking = ASKING.get(letter.kind)
    if asking is None or letter.sealed_with is not None:
        return None
    try:
        return asking.model_validate_json(letter.body, extra="ignore")
    except ValueError:
        return None


def _keys_of(push: PushRequested | RevertRequested) -> frozenset[LineKey]:
    """The lines that the event names; none for the revert of a whole push."""
    if isinstance(push, RevertRequested):
        return frozenset((push.revert_id, company_id) for company_id in push.company_ids or ())
    return frozenset((push.push_id, line.company_id) for line in push.lines)


def _overtaken(tx: Tx, push: PushRequested | RevertRequested) -> int:
    """The number of its lines that a replay would not write; 0 for a revert that was never accepted."""
    if isinstance(push, PushRequested) and pushes.find(tx, push.partner_id, push.push_id) is None:
        return reopening.count_overtaken_if_new(tx, push)
    stored = pushes.lines(tx, push.partner_id, _keys_of(push)).values()
    return reopening.count_overtaken(tx, [line for line in stored if line.status == "failed"])
