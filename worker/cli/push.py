"""`push`: set the quantities of a billing period."""

from pathlib import Path
from typing import Annotated

import typer

from messages import FINAL, BillingPeriod, PushMode, PushRequested
from store import Tx, line_results, pushes
from worker.cli import control
from worker.cli.commands import Commands
from worker.cli.confirmations import confirm_held
from worker.cli.display.output import complain
from worker.cli.exits import UNFINISHED
from worker.cli.implied_command import IMPLIED, ImpliedCommand, ImpliedGroup
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, By, NoWait, Partner, Timeout, usage
from worker.cli.session import Session, WorkProgress, session, still_running
from worker.cli.similar_ids import check_similar_ids
from worker.cli.status import show
from worker.coordination import pushing
from worker.spreadsheet import read_counts

commands = Commands(cls=ImpliedGroup)
commands.command("cancel")(control.cancel)


@commands.command(IMPLIED, cls=ImpliedCommand, hidden=True)
def push(
    partner: Partner,
    period: Annotated[
        str, typer.Option(metavar="PERIOD", help="2026-11, or both days included: 2026-11-15/2026-12-14.")
    ],
    counts: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, help="The CSV or XLSX file."),
    ],
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would change; write nothing.")] = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPANY", help="Let a held company through as it was shown last; repeatable, or `all` of them."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before `--confirm all`.")] = False,
    by: By,
    no_wait: NoWait = False,
    timeout: Timeout = 600.0,
    as_json: AsJson = False,
) -> None:
    """Set the quantities of a billing period to the billable users of a file.

    Its columns: company_id,company_name,billable_users.

    Prints what became of each company, and what to do about it. Exit code 1 if a line failed or is held, or if it is
    not finished in time; then it goes on, and `status --push` shows it.

    What is unusual is held: nothing is written until it is confirmed, for the quantity that was shown.

    Example: phin-connectwise push --partner msp-1 --period 2026-11 --counts counts.csv --preview

    A push that runs is stopped by `phin-connectwise push cancel` (see its --help).
    """
    lines = read_counts(counts)
    mode: PushMode = "preview" if preview else "apply"
    with usage("--period"):
        asked = pushing.plausible(BillingPeriod.parse(period))
    with session(works=not no_wait) as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
        check_similar_ids(opened.database, partner, [line.company_id for line in lines])
        with usage():
            confirmed = confirm_held(opened.database, partner, asked.key, lines, confirm or (), yes=yes)
            event = pushing.requested(
                opened.database, partner, asked, lines, mode=mode, requested_by=by, confirmations=confirmed
            )
        see = f"phin-connectwise status --partner {partner} --push {event.push_id}"
        sent = f"Push {event.push_id}: see it at any time with `{see}`."
        finished = carry_out(opened, event, timeout=timeout, wait=not no_wait, sent=sent, see=see)
        if no_wait and opened.settings.is_embedded:
            complain(opened.goes_on(len(lines), "line", None))
        if no_wait and (why := opened.why_waiting(partner)) is not None:
            complain(why)
        if not finished and not no_wait:
            still_running(see)
        trouble = show(opened, partner, event.push_id, as_json=as_json, table=not no_wait)
    raise typer.Exit(UNFINISHED if trouble or not (finished or no_wait) else 0)


def carry_out(
    opened: Session,
    event: PushRequested,
    *,
    timeout: float,
    wait: bool = True,
    sent: str | None = None,
    see: str | None = None,
) -> bool:
    """Send a push, print `sent`, and wait. True = all lines ended in time. `see` is the command to view them."""

    def progress(tx: Tx) -> WorkProgress:
        return push_progress(tx, event.partner_id, event.push_id, len(event.lines))

    what = f"Push {event.period}"
    return opened.carry_out([event], progress, what=what, timeout=timeout, wait=wait, sent=sent, see=see, unit="line")


def push_progress(tx: Tx, partner: str, push_id: str, total: int) -> WorkProgress:
    """The progress of a push or revert; `total` is the number of lines expected until it is accepted."""
    found = pushes.find(tx, partner, push_id)
    counts = line_results.count_by_status(tx, partner, push_id)
    return WorkProgress(
        done=sum(count for status, count in counts.items() if status in FINAL),
        total=found.line_count if found else total,
        accepted=found is not None,
        finished=found is not None and found.state != "accepted",
        news=counts,
    )
