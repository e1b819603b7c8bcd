"""`push --confirm`: lets held lines through at the quantities that were shown."""

from collections.abc import Sequence

import typer

from messages import Confirmation, PushLine, SyncResult
from store import Database, line_results
from worker.cli.display.output import complain, err, safe
from worker.cli.known_company import id_or_name
from worker.cli.options import agree
from worker.coordination.confirmations import confirmation_of, is_confirmable

ALL = "all"


def confirm_held(
    database: Database, partner_id: str, period_key: str, lines: Sequence[PushLine], wanted: Sequence[str], *, yes: bool
) -> tuple[Confirmation, ...]:
    """Confirm the held lines of the `wanted` companies (by id or name, or `all`) as they were shown last.

    `all` asks the user first, unless `yes`. Raises typer.BadParameter for a company that is not held, or is held for a
    reason that cannot be confirmed.
    """
    if not wanted:
        return ()
    names = {line.company_id: line.company_name for line in lines}
    users = {line.company_id: line.billable_users for line in lines}
    with database.begin() as tx:
        last = line_results.newest_of_period(tx, partner_id, period_key, users)
    held = {result.company_id: result for result in last if result.status == "held" and is_confirmable(result)}
    company_ids = [ALL if company == ALL else id_or_name(company, names, "--confirm") for company in wanted]
    unknown = [company for company in company_ids if company not in held and company != ALL]
    if unknown:
        raise typer.BadParameter(
            f"not held for anything that can be confirmed: {', '.join(unknown)}; push first, and look at what is held",
            param_hint="--confirm",
        )
    if ALL in company_ids:
        _ask(names, list(held.values()), yes=yes)
    chosen = held.values() if ALL in company_ids else [held[company] for company in dict.fromkeys(company_ids)]
    return tuple(confirmation_of(result) for result in chosen)


def _ask(names: dict[str, str], held: Sequence[SyncResult], *, yes: bool) -> None:
    """Show the lines to be confirmed, and ask the user unless `yes`. Ends the program if the user declines."""
    if not held:
        complain("Nothing is held that can be confirmed.")
        return
    for result in held:
        before, wanted = result.quantity_before or 0, result.quantity_wanted or 0
        reasons = "; ".join(problem.title for problem in result.reasons)
        err.print(safe(f"{names[result.company_id]}: {before:,} → {wanted:,}. {reasons}"), soft_wrap=True)
    agree(f"Confirm {'this' if len(held) == 1 else f'these {len(held):,}'}?", yes=yes)
