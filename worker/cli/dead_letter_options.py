"""The options that choose dead letters, which several commands share."""

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperArgument, TyperCommand

from store import Tx, dead_letter_queries
from store.dead_letter_queries import DeadLetterFilter
from worker.cli.options import identifier, time_of

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids, or the beginnings of these.")]
OfPartner = Annotated[str | None, typer.Option("--partner", metavar="ID", help="Of this partner.", callback=identifier)]
Kind = Annotated[str | None, typer.Option(metavar="KIND", help="Of this kind, for example push.requested.v1.")]
Reason = Annotated[str | None, typer.Option(metavar="REASON", help="For this reason, for example exhausted.")]
OfGroup = Annotated[str | None, typer.Option(metavar="FINGERPRINT", help="Of this group, as `groups` shows it.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed last since: 2026-11-22T10:00 (UTC), or 30m, 2h, 3d ago.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Failed last before that.")]
State = Annotated[Literal["open", "replayed", "discarded", "all"], typer.Option(help="In this state.")]
All = Annotated[bool, typer.Option("--all", help="All that are there.")]


class _Several(TyperArgument):
    """An argument that may be given again: its help shows the type of one, not Python's of all."""

    def display_type_rich(self, ctx: Any) -> str | None:  # noqa: ANN401, ARG002 - click's Context, which typer hides
        """Show no type beside the name."""
        return None


class CommandWithIds(TyperCommand):
    """A command with `Ids`."""

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(*given, **named)
        for param in self.params:
            if isinstance(param, TyperArgument) and param.nargs == -1:
                param.__class__ = _Several


def chosen_letters(
    partner: str | None,
    kind: str | None,
    reason: str | None,
    group: str | None,
    since: str | None,
    until: str | None,
    *,
    state: str = "all",
) -> DeadLetterFilter:
    """The filter that these options are. Raises typer.BadParameter."""
    return DeadLetterFilter(
        partner_id=partner,
        kind=kind,
        reason=reason,
        fingerprint=group,
        since=time_of(since, "--since"),
        until=time_of(until, "--until"),
        state=None if state == "all" else state,
    )


def require_choice(which: DeadLetterFilter, ids: list[str] | None, *, everything: bool) -> None:
    """Refuse to change dead letters that nobody named."""
    if not ids and not everything and which == DeadLetterFilter(state=which.state):
        raise typer.BadParameter(
            "say which: ids, --partner, --kind, --reason, --group, --since, --until, or --all", param_hint="[ID]..."
        )


def full_ids(tx: Tx, beginnings: list[str] | None) -> tuple[str, ...]:
    """The ids that begin so. Raises typer.BadParameter if one is none's or several's beginning."""
    return tuple(full_id(tx, beginning) for beginning in beginnings or ())


def full_id(tx: Tx, beginning: str) -> str:
    """The id that begins so. Raises typer.BadParameter."""
    # Of a shell's empty variable every id is a continuation.
    found = dead_letter_queries.ids_beginning_with(tx, beginning) if beginning else []
    if len(found) == 1:
        return found[0]
    told = "give more of it; several dead letters' ids begin with" if found else "no dead letter's id begins with"
    raise typer.BadParameter(f"{told} {beginning!r}", param_hint="ID")
