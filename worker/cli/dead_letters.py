"""`dead-letters`: list failed messages with their errors, and replay them once the cause is gone."""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from store import dead_letter_queries, operation_claims, operation_queries, operations
from store.dead_letter_queries import DeadLetterFilter
from store.operation_queries import Kind
from worker.bootstrap import key_ring
from worker.cli.commands import Commands
from worker.cli.dead_letter_options import (
    All,
    Ids,
    State,
    full_id,
    full_ids,
    in_state,
    require_choice,
    takes_filter,
)
from worker.cli.display import dead_letters as display
from worker.cli.display.output import complain, dump, plural, say
from worker.cli.display.replays import say_not_open, show_advance, show_preview, show_progress
from worker.cli.exits import INTERRUPTED, UNFINISHED
from worker.cli.options import AsJson, By
from worker.cli.session import Session, bar, session
from worker.operations import conduct
from worker.operations.questions import can_be_replayed, in_full

commands = Commands(no_args_is_help=True)


@commands.command("list")
@takes_filter
def list_(
    ids: Ids = None,
    *,
    letters: DeadLetterFilter,
    state: State = "open",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first.

    Example: phin-connectwise dead-letters list --partner msp-1 --since 2h
    """
    with session() as opened, opened.database.begin() as tx:
        letters = replace(in_state(letters, state, ids), ids=full_ids(tx, ids))
        newest = dead_letter_queries.newest(tx, letters, limit)
        count = dead_letter_queries.count(tx, letters)
    if as_json:
        dump({"count": count, "letters": [display.as_json(letter) for letter in newest]})
    elif newest:
        display.show_list(newest, count)
    else:
        say("There are no such dead letters.")


@commands.command()
@takes_filter
def groups(
    *,
    letters: DeadLetterFilter,
    state: State = "open",
    as_json: AsJson = False,
) -> None:
    """Group dead letters by their cause (reason, type of error, place in the code), the most frequent first.

    Example: phin-connectwise dead-letters groups
    """
    with session() as opened, opened.database.begin() as tx:
        grouped = dead_letter_queries.groups(tx, in_state(letters, state))
    if as_json:
        dump({"groups": [display.group_as_json(group) for group in grouped]})
    elif grouped:
        display.show_groups(grouped)
    else:
        say("There are no such dead letters.")


@commands.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show all of a dead letter: error, properties, headers, what was done with it, and the body.

    A body that may hold a private key is masked.
    """
    with session() as opened:
        with opened.database.begin() as tx:
            letter = dead_letter_queries.get_many(tx, [full_id(tx, id_)])[0]
        keys = key_ring(opened.settings)
    if as_json:
        dump(display.in_full_as_json(letter, keys))
    else:
        display.show(letter, keys)


@commands.command()
@takes_filter
def replay(
    ids: Ids = None,
    *,
    letters: DeadLetterFilter,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Replay at most so many, the oldest.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.01, metavar="N", help="Replay at most so many a second.")] = None,
    by: By,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with each of them.")] = None,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Wait at most so long for each batch to be handled.")
    ] = 60.0,
) -> None:
    """Send open dead letters again, as they were sent, each to the queue it came from.

    In growing batches of 1, 2, 5, 20, 50, 100: each is waited for, until its messages are handled and the lines of its
    pushes answered, and no more are sent if one of them came back. What newer pushes have overtaken is not written.
    Exit code 1 if one came back, a line failed for another reason, or one is not decided in time.

    Example: phin-connectwise dead-letters replay --reason exhausted --why "ConnectWise is back"
    """
    require_choice(letters, ids, everything=everything)
    with session(works=not dry_run) as opened:
        with opened.database.begin() as tx:
            named = full_ids(tx, ids)
            letters = replace(letters, ids=named, state="open")
            open_letters = dead_letter_queries.newest(tx, letters, dead_letter_queries.count(tx, letters) or 1)
        able = [letter.id for letter in reversed(open_letters) if can_be_replayed(letter)]
        say_not_open(len(named) - len(open_letters) if named else 0, len(open_letters) - len(able))
        able = able[:limit]
        if not able:
            say("There is nothing to replay.")
            raise typer.Exit(UNFINISHED if named else 0)
        if dry_run:
            show_preview(opened, able)
            raise typer.Exit
        token = conduct.new_token()
        with opened.database.begin() as tx:
            operation = conduct.begin(
                tx,
                "replay",
                replace(letters, state=None) if named else letters,
                by=by,
                why=why,
                origin="command",
                token=token,
                limit=limit,
                rate=rate,
                batch_seconds=timeout,
            )
        try:
            with bar(f"Replaying {plural(len(able), 'dead letter')}") as shown, opened.working():
                conduct.carry_out(opened.database, operation, token, partial(show_advance, shown))
        except KeyboardInterrupt:
            with opened.database.begin() as tx:
                operation = operation_claims.finish(tx, operation.id, token, operations.stopped_by(by))
            show_progress(opened, operation, interrupted=True)
            raise typer.Exit(INTERRUPTED) from None
        is_done = show_progress(opened, operation)
    raise typer.Exit(0 if is_done else UNFINISHED)


@commands.command()
@takes_filter
def discard(
    ids: Ids = None,
    *,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why nothing is to be done; kept with each of them.")],
    letters: DeadLetterFilter,
    everything: All = False,
    by: By,
) -> None:
    """Say that nothing is to be done about open dead letters; they are kept, and `restore` opens them again."""
    require_choice(letters, ids, everything=everything)
    say(f"Discarded {_change('discard', letters, ids, by=by, why=why):,}.")


@commands.command()
@takes_filter
def restore(
    ids: Ids = None,
    *,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with each of them.")] = None,
    letters: DeadLetterFilter,
    everything: All = False,
    by: By,
) -> None:
    """Open discarded dead letters again."""
    require_choice(letters, ids, everything=everything)
    say(f"Restored {_change('restore', letters, ids, by=by, why=why):,}.")


@commands.command()
@takes_filter
def export(
    file: Annotated[
        Path, typer.Argument(dir_okay=False, allow_dash=True, help="The file, - = standard output.")
    ] = Path("-"),
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This one; may be given again.")] = None,
    letters: DeadLetterFilter,
    state: State = "open",
) -> None:
    """Write dead letters in full, one JSON document a line: the body as text if it is UTF-8, else in base64.

    A body that may hold a private key stays sealed.
    """
    with session() as opened:
        # Before the file is opened, so that a wrong id empties no file.
        letter_ids = _ids(opened, in_state(letters, state, ids), ids)
        with nullcontext(sys.stdout) if file == Path("-") else file.open("w") as out:
            for letter in in_full(opened.database, letter_ids):
                out.write(json.dumps(display.in_full_as_json(letter)) + "\n")
    if file != Path("-"):
        complain(f"Written: {file}, with {plural(len(letter_ids), 'dead letter')}.")


def _change(kind: Kind, letters: DeadLetterFilter, ids: list[str] | None, *, by: str, why: str | None) -> int:
    """Discard or restore all letters that match. Returns the number of those that were changed."""
    token = conduct.new_token()
    with session() as opened:
        with opened.database.begin() as tx:
            named = full_ids(tx, ids)
            chosen = replace(letters, ids=named, state=None if named else operations.NEEDED_STATE[kind])
            operation = conduct.begin(tx, kind, chosen, by=by, why=why, origin="command", token=token)
        conduct.carry_out(opened.database, operation, token)
        with opened.database.begin() as tx:
            return operation_queries.required(tx, operation.id).done


def _ids(opened: Session, letters: DeadLetterFilter, ids: list[str] | None) -> list[str]:
    with opened.database.begin() as tx:
        return dead_letter_queries.ids(tx, replace(letters, ids=full_ids(tx, ids)))
