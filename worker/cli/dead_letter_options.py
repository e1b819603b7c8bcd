"""The options that choose dead letters, shared by the commands of `dead-letters`."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import Annotated, Any, Literal

import typer

from store import Tx, dead_letter_queries
from store.dead_letter_queries import DeadLetterFilter
from worker.cli.options import identifier, time_of

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids, or the beginnings of these.")]
OfPartner = Annotated[str | None, typer.Option("--partner", metavar="ID", help="Of this partner.", callback=identifier)]
Kind = Annotated[str | None, typer.Option(metavar="KIND", help="Of this kind, for example push.requested.v1.")]
Reason = Annotated[str | None, typer.Option(metavar="REASON", help="For this reason, for example exhausted.")]
ErrorText = Annotated[str | None, typer.Option("--text", metavar="TEXT", help="With this text in the error.")]
OfGroup = Annotated[str | None, typer.Option(metavar="FINGERPRINT", help="Of this group, as `groups` shows it.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed last since: 2026-11-22T10:00 (UTC), or 30m, 2h, 3d ago.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Failed last before that.")]
State = Annotated[Literal["open", "replayed", "discarded", "all"], typer.Option(help="In this state.")]
All = Annotated[bool, typer.Option("--all", help="All that are there.")]


def takes_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the filter in place of its parameter `letters`, a DeadLetterFilter."""
    options, own = signature(_filter).parameters, signature(command)
    parameters = [
        parameter
        for name, before in own.parameters.items()
        for parameter in (options.values() if name == "letters" else [before])
    ]

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - the values of all options
        letters = _filter(**{name: given.pop(name) for name in options})
        command(**given, letters=letters)

    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _filter(
    *,
    partner: OfPartner = None,
    kind: Kind = None,
    reason: Reason = None,
    group: OfGroup = None,
    text: ErrorText = None,
    since: Since = None,
    until: Until = None,
) -> DeadLetterFilter:
    return DeadLetterFilter(
        partner_id=partner,
        kind=kind,
        reason=reason,
        fingerprint=group,
        text=text,
        since=time_of(since, "--since"),
        until=time_of(until, "--until"),
    )


def in_state(letters: DeadLetterFilter, state: str, ids: list[str] | None = None) -> DeadLetterFilter:
    """Restrict a filter to a state, unless that is `all` or letters are named by ids."""
    return letters if ids or state == "all" else replace(letters, state=state)


def require_choice(letters: DeadLetterFilter, ids: list[str] | None, *, everything: bool) -> None:
    """Refuse to change dead letters that nobody named. Raises typer.BadParameter."""
    if not ids and not everything and letters == DeadLetterFilter():
        raise typer.BadParameter(
            "say which: ids, --partner, --kind, --reason, --group, --text, --since, --until, or --all",
            param_hint="[ID]...",
        )


def full_ids(tx: Tx, beginnings: list[str] | None) -> tuple[str, ...]:
    """The ids that begin with these. Raises typer.BadParameter for a beginning of none, or of several ids."""
    return tuple(full_id(tx, beginning) for beginning in beginnings or ())


def full_id(tx: Tx, beginning: str) -> str:
    """The id that begins with this. Raises typer.BadParameter if there is none, or several."""
    # An empty variable of a shell would be the beginning of every id.
    ids = dead_letter_queries.ids_beginning_with(tx, beginning) if beginning else []
    if len(ids) == 1:
        return ids[0]
    problem = "give more of it; several dead letters' ids begin with" if ids else "no dead letter's id begins with"
    raise typer.BadParameter(f"{problem} {beginning!r}", param_hint="ID")
