"""`push --confirm`: what was held, and has been looked at, goes through at the quantity that was shown."""

from collections.abc import Mapping, Sequence

import typer

from messages import Confirmation, PushLine, SyncResult
from store import Database, line_results
from worker.cli.display.output import complain, err, safe
from worker.rules import quantities

ALL = "all"


def confirm_held(
    database: Database, partner_id: str, period_key: str, lines: Sequence[PushLine], wanted: Sequence[str], *, yes: bool
) -> tuple[Confirmation, ...]:
    """Confirm the held lines of these companies, by id or name, or of `all`, as they were shown last.

    `all` is asked for once more.

    Raises typer.BadParameter for a company that is not held, or not for what a confirmation lets through.
    """
    if not wanted:
        return ()
    names = {line.company_id: line.company_name for line in lines}
    users = {line.company_id: line.billable_users for line in lines}
    with database.begin() as tx:
        last = line_results.newest_of_period(tx, partner_id, period_key, users)
    held = {result.company_id: result for result in last if result.status == "held" and is_confirmable(result)}
    wanted = [_id_of(one, names) for one in wanted]
    unknown = [company for company in wanted if company not in held and company != ALL]
    if unknown:
        raise typer.BadParameter(
            f"not held for anything that can be confirmed: {', '.join(unknown)}; push first, and look at what is held",
            param_hint="--confirm",
        )
    if ALL in wanted:
        _ask(names, list(held.values()), yes=yes)
    chosen = held.values() if ALL in wanted else [held[company] for company in dict.fromkeys(wanted)]
    return tuple(
        Confirmation(
            company_id=result.company_id,
            reasons=tuple(problem.code for problem in result.reasons),
            quantity_before=result.quantity_before or 0,
            quantity_wanted=result.quantity_wanted,
        )
        for result in chosen
    )


def _id_of(wanted: str, names: Mapping[str, str]) -> str:
    """The id of the company that an id, or a name that no other company has, means. Raises typer.BadParameter."""
    if wanted == ALL or wanted in names:
        return wanted
    called = [company_id for company_id, name in names.items() if name.casefold() == wanted.casefold()]
    if len(called) > 1:
        raise typer.BadParameter(
            f"several companies are called {wanted!r}; give the id: {', '.join(called)}", param_hint="--confirm"
        )
    return called[0] if called else wanted


def is_confirmable(result: SyncResult) -> bool:
    """True if a confirmation lets the held line through: not if a count is missing, for example."""
    return bool(result.reasons) and {problem.code for problem in result.reasons} <= quantities.CONFIRMABLE


def _ask(names: dict[str, str], held: Sequence[SyncResult], *, yes: bool) -> None:
    """Show what is about to be confirmed; goes on if that is wanted."""
    if not held:
        complain("Nothing is held that can be confirmed.")
        return
    for result in held:
        before, wanted = result.quantity_before or 0, result.quantity_wanted or 0
        told = "; ".join(problem.title for problem in result.reasons)
        err.print(safe(f"{names[result.company_id]}: {before:,} → {wanted:,}. {told}"), soft_wrap=True)
    if not yes:
        typer.confirm(f"Confirm {'this' if len(held) == 1 else f'these {len(held):,}'}?", abort=True, err=True)
