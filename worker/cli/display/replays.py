"""The output of `dead-letters replay`: a preview, the outcome, and the letters that cannot be sent."""

from rich.progress import Progress

from messages import MAX_PROPERTIES
from store import operation_queries
from store.operation_queries import Operation
from worker.cli.display.dead_letters import SHORT
from worker.cli.display.output import complain, plural, safe, say, table
from worker.cli.session import Session
from worker.operations.preview import preview_replay
from worker.operations.replaying import TOO_LARGE

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


def show_advance(bar: Progress, operation: Operation) -> None:
    """Move the progress bar to the letters that are decided."""
    refused = operation.refused
    bar.update(bar.task_ids[0], completed=operation.done + operation.came_back, total=operation.total - refused)


def show_progress(opened: Session, operation: Operation, *, interrupted: bool = False) -> bool:
    """Print the outcome of a replay so far. Returns True if all that was sent is done, and nothing was too large."""
    with opened.database.begin() as tx:
        operation = operation_queries.required(tx, operation.id)
        back = operation_queries.letters_in(tx, operation.id, "came back", NAMED)
        too_large = sum(count for _, why, count in operation_queries.problems(tx, operation.id) if why == TOO_LARGE)
    for one in back:
        complain(f"{one.letter_id[:SHORT]} came back: {one.problem}")
    _say_too_large(too_large)
    if operation.stopped_why and not interrupted:
        complain(f"Stopped: {operation.stopped_why}.")
    replayed = operation.done + operation.came_back + operation.sent
    say(
        f"Replayed {replayed:,}: {operation.done:,} done, {operation.came_back:,} came back, "
        f"{operation.sent:,} not decided; {operation.left:,} left. "
        f"Overtaken by newer pushes: {plural(operation.overtaken, 'line')}."
    )
    if operation.failed:
        failed = plural(operation.failed, "line")
        complain(f"Failed for other reasons, which `phin-connectwise status` names: {failed}.")
    if operation.sent:
        complain(opened.goes_on(operation.sent, "letter", "phin-connectwise dead-letters list --state replayed"))
    return operation.done == replayed and not operation.failed and not too_large
