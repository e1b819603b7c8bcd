"""`status`: show the results of pushes, by company or of one push, and dismiss rows."""

from typing import Annotated

import typer

from messages import FINAL
from store import company_status, completions, mappings, pushes
from store.pushes import Push
from worker.cli.commands import Commands
from worker.cli.display import causes, preview_totals, results_table, totals
from worker.cli.display.output import complain, dump, say
from worker.cli.exits import UNFINISHED, USAGE
from worker.cli.implied_command import IMPLIED, ImpliedCommand, ImpliedGroup
from worker.cli.known_company import company_id_of
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, Company, Partner
from worker.cli.session import Session, session
from worker.coordination import preview_totals as previews
from worker.coordination import results, waiting
from worker.coordination import totals as sums

commands = Commands(cls=ImpliedGroup)


@commands.command(IMPLIED, cls=ImpliedCommand, hidden=True)
def status(
    partner: Partner,
    *,
    push_id: Annotated[
        str | None, typer.Option("--push", metavar="ID", help="One push, instead of the newest of each company.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show Sync Status: the newest result of each company, or the lines of one push, also while it runs.

    Exit code 1 if a line failed or is held.

    The row of a company that is gone is put away by `phin-connectwise status dismiss` (see its --help).
    """
    with session() as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
        trouble = show(opened, partner, push_id, as_json=as_json, table=True)
        if push_id and opened.settings.is_embedded:
            _say_unfinished(opened, partner, push_id)
    raise typer.Exit(UNFINISHED if trouble else 0)


@commands.command()
def dismiss(
    partner: Partner,
    company: Company,
) -> None:
    """Put away the row of a company that is gone; it comes back with the company's next result.

    Example: phin-connectwise status dismiss --partner msp-1 --company c-17
    """
    with session() as opened, opened.database.begin() as tx:
        require_known_partner(tx, partner)
        company = company_id_of(tx, partner, company)
        dismissed = company_status.dismiss(tx, partner, company)
        mapped = mappings.of_companies(tx, partner, {company}).get(company)
    if not dismissed:
        complain(f"Sync Status shows no company {company} of partner {partner}.")
        raise typer.Exit(USAGE)
    say(f"Dismissed: {company}.")
    if mapped is not None and mapped.addition is not None:
        complain("It is mapped still, so ConnectWise may bill it; `phin-connectwise mapping remove` unmaps it.")


def show(opened: Session, partner: str, push_id: str | None, *, as_json: bool, table: bool) -> bool:
    """Print one push, or the partner's Sync Status. Returns True if it was refused, or a line failed or is held."""
    with opened.database.begin() as tx:
        found = pushes.find(tx, partner, push_id) if push_id else None
        ended = completions.of_push(tx, partner, push_id) if push_id else None
        rows = results.of_push(tx, partner, push_id) if push_id else results.of_partner(tx, partner)
        missing = sums.absent_from(tx, partner, push_id)
        is_preview = found is not None and found.mode == "preview"
        known = mappings.of_companies(tx, partner, {row.company_id for row in rows}) if is_preview else {}
        waits = waiting.reason(tx, opened.settings, partner) if any(row.is_open for row in rows) else None
    summed = sums.sum_of(rows) if found is not None and found.mode != "revert" else None
    additions = {company_id: mapping.addition for company_id, mapping in known.items()}
    if as_json:
        named = {"push": _as_json(push_id, found)} if push_id else {}
        of_preview = {"preview": previews.as_json(rows, additions)} if is_preview else {}
        document = {"partner_id": partner, **named, "waits": waits} | of_preview | results.as_json(rows)
        dump(document | sums.as_json(summed, missing))
    elif table and push_id and found is None:
        complain(f"No worker has accepted a push {push_id} of partner {partner} yet.")
        raise typer.Exit(USAGE)
    elif table and ended is not None and ended.status == "refused" and ended.problem is not None:
        causes.show([causes.of_problem("bad", "Refused", ended.problem)])
    elif table and rows:
        results_table.show(rows, waits, by_period=push_id is None)
        if is_preview:
            preview_totals.show(rows, additions)
        if found is not None and summed is not None:
            totals.say_sum(summed, found.mode)
        if missing is not None:
            totals.say_absent(*missing)
        if push_id:
            results_table.say_confirmable(rows)
    elif table:
        say(f"Nothing has been pushed for partner {partner} yet.")
    return results.has_trouble(rows) or (found is not None and found.state == "refused")


def _say_unfinished(opened: Session, partner: str, push_id: str) -> None:
    """Say how a push with open lines goes on, as no worker may be running."""
    with opened.database.begin() as tx:
        found = pushes.find(tx, partner, push_id)
        waiting = sum(row.status not in FINAL for row in results.of_push(tx, partner, push_id))
    if found is not None and found.state == "accepted" and waiting:
        complain(opened.goes_on(waiting, "line", None))


def _as_json(push_id: str, found: Push | None) -> dict[str, object]:
    if found is None:
        return {"push_id": push_id, "state": "sent"}
    return {
        "push_id": push_id,
        "state": found.state,
        "period": found.period.key,
        "mode": found.mode,
        **({"reverts": found.reverts} if found.reverts else {}),
        "requested_at": found.requested_at.isoformat(),
        "requested_by": found.requested_by,
    }
