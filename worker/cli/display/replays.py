"""The output of `dead-letters replay`: a preview, the outcome, and the letters that cannot be sent."""

from messages import MAX_PROPERTIES
from worker.cli.display.dead_letters import SHORT
from worker.cli.display.output import complain, plural, safe, say, table
from worker.cli.replaying import ReplayProgress, ReplayState, preview_replay
from worker.cli.session import Session

NAMED = 5
"""The number of letters that are named among those that came back."""


def say_not_open(not_open: int, unable: int) -> None:
    """Say how many letters are not replayed: because they are not open, and because they name no queue."""
    if not_open:
        complain(f"{not_open:,} of these are not open (any more); `dead-letters show` says what was done with them.")
    _say_unable(unable, "they name no queue of ours")


def _say_unable(count: int, why: str) -> None:
    if count:
        complain(f"{count:,} cannot be replayed, as {why}; export or discard them.")


def _say_too_large(count: int) -> None:
    _say_unable(count, f"their AMQP properties have more than {MAX_PROPERTIES:,} bytes")


def show_preview(opened: Session, letter_ids: list[str]) -> None:
    """Print what a replay of these letters would do."""
    preview = preview_replay(opened.database, letter_ids)
    rows = [[safe(f"{count:,}"), safe(reason), safe(kind)] for (kind, reason), count in sorted(preview.counts.items())]
    table(("Letters", "Reason", "Kind"), rows, right=("Letters",))
    _say_too_large(preview.too_large)
    overtaken = plural(preview.overtaken, "line")
    say(f"Would replay {len(letter_ids) - preview.too_large:,}. Overtaken by newer pushes: {overtaken}.")


def show_progress(opened: Session, progress: ReplayProgress) -> None:
    """Print the outcome of a replay so far."""
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
        f"{len(open_):,} not decided; {progress.left:,} left. "
        f"Overtaken by newer pushes: {plural(progress.overtaken, 'line')}."
    )
    if progress.failed:
        complain(f"Failed for other reasons, which `phin-connectwise status` names: {plural(progress.failed, 'line')}.")
    if open_:
        complain(opened.goes_on(len(open_), "letter", "phin-connectwise dead-letters list --state replayed"))
