"""`dead-letters`: see what failed and why, and send it again once the cause is gone."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from store import dead_letter_queries, replays
from worker.bootstrap import key_ring
from worker.cli.commands import Commands
from worker.cli.dead_letter_options import (
    All,
    CommandWithIds,
    Ids,
    Kind,
    OfGroup,
    OfPartner,
    Reason,
    Since,
    State,
    Until,
    chosen_letters,
    full_id,
    full_ids,
    require_choice,
)
from worker.cli.display import dead_letters as display
from worker.cli.display.output import complain, dump, say
from worker.cli.display.replays import say_not_open, show_preview, show_progress
from worker.cli.exits import INTERRUPTED, UNFINISHED
from worker.cli.options import AsJson, By
from worker.cli.replaying import ReplayRun, ReplayState, can_be_replayed, in_full
from worker.cli.results import many
from worker.cli.session import Session, bar, session

commands = Commands(no_args_is_help=True, help="See what failed and why, and send it again once the cause is gone.")


@commands.command("list", cls=CommandWithIds)
def list_(
    ids: Ids = None,
    *,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first.

    Example: phin-connectwise dead-letters list --partner msp-1 --since 2h
    """
    which = chosen_letters(partner, kind, reason, group, since, until, state="all" if ids else state)
    with session() as opened, opened.database.begin() as tx:
        which = dead_letter_queries.of_ids(which, full_ids(tx, ids))
        found = dead_letter_queries.newest(tx, which, limit)
        count = dead_letter_queries.count(tx, which)
    if as_json:
        dump({"count": count, "letters": [display.as_json(letter) for letter in found]})
    elif found:
        display.show_list(found, count)
    else:
        say("There are no such dead letters.")


@commands.command()
def groups(
    *,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
    as_json: AsJson = False,
) -> None:
    """Group dead letters by their cause (reason, type of error, place in the code), the most frequent first.

    Example: phin-connectwise dead-letters groups
    """
    which = chosen_letters(partner, kind, reason, group, since, until, state=state)
    with session() as opened, opened.database.begin() as tx:
        found = dead_letter_queries.groups(tx, which)
    if as_json:
        dump({"groups": [display.group_as_json(one) for one in found]})
    elif found:
        display.show_groups(found)
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


@commands.command(cls=CommandWithIds)
def replay(
    ids: Ids = None,
    *,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Replay at most so many, the oldest.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Replay at most so many a second.")] = None,
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
    which = chosen_letters(partner, kind, reason, group, since, until, state="open")
    require_choice(which, ids, everything=everything)
    with session(works=not dry_run) as opened:
        with opened.database.begin() as tx:
            named = full_ids(tx, ids)
            which = dead_letter_queries.of_ids(which, named)
            found = dead_letter_queries.newest(tx, which, dead_letter_queries.count(tx, which) or 1)
        able = [letter.id for letter in reversed(found) if can_be_replayed(letter)][:limit]
        say_not_open(len(named) - len(found) if named else 0, len(found) - sum(map(can_be_replayed, found)))
        if not able:
            say("There is nothing to replay.")
            raise typer.Exit(UNFINISHED if named else 0)
        if dry_run:
            show_preview(opened, able)
            raise typer.Exit
        replaying = ReplayRun(opened.database, by, why, rate, timeout)
        try:
            with bar(f"Replaying {len(able):,} dead letter{'' if len(able) == 1 else 's'}") as shown, opened.working():
                replaying.run(able, shown)
        except KeyboardInterrupt:
            show_progress(opened, replaying.tally)
            raise typer.Exit(INTERRUPTED) from None
        show_progress(opened, replaying.tally)
        tally = replaying.tally
        is_done = (
            len(tally.having(ReplayState.DONE)) == len(tally.replayed) and not tally.failed and not tally.too_large
        )
    raise typer.Exit(0 if is_done else UNFINISHED)


@commands.command(cls=CommandWithIds)
def discard(
    ids: Ids = None,
    *,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why nothing is to be done; kept with each of them.")],
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    by: By,
) -> None:
    """Say that nothing is to be done about open dead letters; they are kept, and `restore` opens them again."""
    which = chosen_letters(partner, kind, reason, group, since, until, state="open")
    require_choice(which, ids, everything=everything)
    with session() as opened:
        changed = 0
        for letter_id in _ids(opened, which, ids):
            with opened.database.begin() as tx:
                changed += replays.discard(tx, letter_id, by=by, why=why)
    say(f"Discarded {changed:,}.")


@commands.command(cls=CommandWithIds)
def restore(
    ids: Ids = None,
    *,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with each of them.")] = None,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    by: By,
) -> None:
    """Open discarded dead letters again."""
    which = chosen_letters(partner, kind, reason, group, since, until, state="discarded")
    require_choice(which, ids, everything=everything)
    with session() as opened:
        changed = 0
        for letter_id in _ids(opened, which, ids):
            with opened.database.begin() as tx:
                changed += replays.restore(tx, letter_id, by=by, why=why)
    say(f"Restored {changed:,}.")


@commands.command()
def export(
    file: Annotated[
        Path, typer.Argument(dir_okay=False, allow_dash=True, help="The file, - = standard output.")
    ] = Path("-"),
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This one; may be given again.")] = None,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
) -> None:
    """Write dead letters in full, one JSON document a line: the body as text if it is UTF-8, else in base64.

    A body that may hold a private key stays sealed.
    """
    which = chosen_letters(partner, kind, reason, group, since, until, state="all" if ids else state)
    with session() as opened:
        # First, so that a slip in an id empties no file.
        found = _ids(opened, which, ids)
        with nullcontext(sys.stdout) if file == Path("-") else file.open("w") as out:
            for letter in in_full(opened.database, found):
                out.write(json.dumps(display.in_full_as_json(letter)) + "\n")
    if file != Path("-"):
        complain(f"Written: {file}, with {many(len(found), 'dead letter')}.")


def _ids(opened: Session, which: dead_letter_queries.DeadLetterFilter, ids: list[str] | None) -> list[str]:
    with opened.database.begin() as tx:
        return dead_letter_queries.ids(tx, dead_letter_queries.of_ids(which, full_ids(tx, ids)))
