"""The words of `dead-letters replay`: its effect beforehand, what became of it, and what it cannot send."""

from messages import MAX_PROPERTIES
from worker.cli.display.dead_letters import SHORT
from worker.cli.display.output import complain, safe, say, table
from worker.cli.replaying import ReplayProgress, ReplayState, preview_replay
from worker.cli.session import Session

NAMED = 5
"""So many of those that came back are named."""


def say_not_open(not_open: int, unable: int) -> None:
    """Say how many are not replayed: because of their state, and because they name no queue."""
    if not_open:
        complain(f"{not_open:,} of these are not open (any more); `dead-letters show` says what was done with them.")
    _say_unable(unable, "they name no queue of ours")


def _say_unable(count: int, why: str) -> None:
    if count:
        complain(f"{count:,} cannot be replayed, as {why}; export or discard them.")


def _say_too_large(count: int) -> None:
    _say_unable(count, f"their AMQP properties have more than {MAX_PROPERTIES:,} bytes")


def show_preview(opened: Session, letter_ids: list[str]) -> None:
    """Print what a replay of these would do."""
    seen = preview_replay(opened.database, letter_ids)
    rows = [[safe(f"{count:,}"), safe(reason), safe(kind)] for (kind, reason), count in sorted(seen.counts.items())]
    table(("Letters", "Reason", "Kind"), rows, right=("Letters",))
    _say_too_large(seen.too_large)
    say(f"Would replay {len(letter_ids) - seen.too_large:,}. Overtaken by newer pushes: {_lines(seen.overtaken)}.")


def show_progress(opened: Session, progress: ReplayProgress) -> None:
    """Print what became of a replay."""
    done, back, open_ = (
        progress.having(fate) for fate in (ReplayState.DONE, ReplayState.CAME_BACK, ReplayState.UNDECIDED)
    )
    for one in back[:NAMED]:
        complain(f"{one.letter.id[:SHORT]} came back: {one.problem}")
    _say_too_large(progress.too_large)
    if progress.stopped:
        complain(f"Stopped: {progress.stopped}.")
    say(
        f"Replayed {len(progress.replayed):,}: {len(done):,} done, {len(back):,} came back, "
        f"{len(open_):,} not decided; {progress.left:,} left. Overtaken by newer pushes: {_lines(progress.overtaken)}."
    )
    if progress.failed:
        complain(f"Failed for other reasons, which `phin-connectwise status` names: {_lines(progress.failed)}.")
    if open_:
        complain(opened.goes_on(len(open_), "letter", "phin-connectwise dead-letters list --state replayed"))


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"
