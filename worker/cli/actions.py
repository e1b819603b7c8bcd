"""`actions`: what operators did, at the command line and on pages, and how far it is."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from store import operation_queries, operations
from store.operation_queries import Operation
from worker.cli.display.output import complain, dump, plural, safe, say, table
from worker.cli.exits import UNFINISHED
from worker.cli.options import AsJson, By, identifier
from worker.cli.session import session


def actions(
    *,
    partner: Annotated[
        str | None, typer.Option("--partner", metavar="ID", help="For this partner.", callback=identifier)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many, the newest.")] = 20,
    stop: Annotated[
        str | None, typer.Option(metavar="ID", help="Stop this one: what was sent is waited for, the rest stays.")
    ] = None,
    by: By,
    as_json: AsJson = False,
) -> None:
    """Show what operators did: who, when, why, and how far it is.

    Example: phin-connectwise actions --partner msp-1
    """
    with session() as opened, opened.database.begin() as tx:
        if stop is not None:
            _stop(stopped=operations.ask_to_stop(tx, stop, by))
            return
        newest = operation_queries.newest(tx, limit, partner_id=partner)
    if as_json:
        dump({"actions": [_as_json(one) for one in newest]})
    elif newest:
        table(("Begun (UTC)", "What", "State", "Outcome", "By, and why"), [_cells(one) for one in newest])
    else:
        say("No operator did anything yet.")


def _stop(*, stopped: bool) -> None:
    if not stopped:
        complain("No action of this id runs.")
        raise typer.Exit(UNFINISHED)
    say("It stops.")


def _cells(one: Operation) -> list[Text]:
    chosen = ", ".join(f"{name} {value}" for name, value in one.chosen.items() if name != "ids")
    about = f"partner {one.partner_id}" if one.partner_id else ""
    state = "interrupted" if one.interrupted else one.state
    return [
        safe(f"{one.begun_at.astimezone(UTC):%m-%d %H:%M:%S}"),
        safe(f"{one.kind} {chosen or about}".strip()),
        safe(f"{state}: {one.stopped_why}" if one.stopped_why else state),
        safe(_outcome(one)),
        safe(f"{one.begun_by}{f': {one.why}' if one.why else ''} ({one.id})"),
    ]


def _outcome(one: Operation) -> str:
    told = [f"done {one.done:,}", f"refused {one.refused:,}"]
    if one.kind == "replay":
        told += [f"came back {one.came_back:,}", f"overtaken {plural(one.overtaken, 'line')}"]
    more = {"not decided": one.sent, "left": one.left}
    return ", ".join([*told, *(f"{name} {number:,}" for name, number in more.items() if number)])


def _as_json(one: Operation) -> dict[str, Any]:
    fields = {**asdict(one), "left": one.left}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
