"""`push` and `status`: set the quantities of a billing period, and see what became of them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from uuid6 import uuid7

from messages import FINAL, BillingPeriod, Confirmation, PushLine, PushMode, PushRequested
from store import Tx, answers, connections, mappings, pushes
from store.pushes import Push
from worker.cli import causes, control, preview_totals, results, results_table, totals
from worker.cli.confirming import confirmations, explain
from worker.cli.exits import UNFINISHED, USAGE
from worker.cli.known import known_partner
from worker.cli.like_ids import hint_at_like_ids
from worker.cli.options import AsJson, By, NoWait, Partner, Timeout, usage
from worker.cli.output import complain, dump, say
from worker.cli.session import Seen, Session, session, still_running
from worker.spreadsheet import read_counts

EARLIEST = date(2015, 1, 1)
MAX_AHEAD = timedelta(days=366)
"""How long before its start a billing period may be pushed."""


class _PushOrCancel(TyperGroup):
    """`push …` pushes; `push cancel …` is the one command below it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's Context, which typer hides
        """Take what names no command for the options of a push."""
        known = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if known else ["set", *args])


class _Unnamed(typer.Context):
    """Of a command that is meant where none is named."""

    @property
    def command_path(self) -> str:
        """What is typed to come here: that of the group alone."""
        return self.parent.command_path if self.parent else ""


class _Push(TyperCommand):
    """`push …`, whose own name nobody types."""

    context_class = _Unnamed


commands = typer.Typer(cls=_PushOrCancel, help="Set the quantities of a billing period, or stop doing so.")
commands.command("cancel")(control.cancel)


@commands.command("set", cls=_Push, hidden=True)
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
        asked = _plausible(BillingPeriod.parse(period))
    with session(works=not no_wait) as opened:
        hint_at_like_ids(opened.database, partner, [line.company_id for line in lines])
        with usage():
            confirmed = confirmations(opened.database, partner, asked.key, lines, confirm or (), yes=yes)
            event = requested(opened, partner, asked, lines, mode=mode, requested_by=by, confirmations=confirmed)
        see = f"phin-connectwise status --partner {partner} --push {event.push_id}"
        sent = f"Push {event.push_id}: see it at any time with `{see}`."
        finished = carry_out(opened, event, timeout=timeout, wait=not no_wait, sent=sent, see=see)
        if no_wait and opened.settings.is_embedded:
            complain(opened.goes_on(len(lines), "line", None))
        if not finished and not no_wait:
            still_running(see)
        trouble = show(opened, partner, event.push_id, as_json=as_json, table=not no_wait)
    raise typer.Exit(UNFINISHED if trouble or not (finished or no_wait) else 0)


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
    """
    with session() as opened:
        with opened.database.begin() as tx:
            known_partner(tx, partner)
        trouble = show(opened, partner, push_id, as_json=as_json, table=True)
        if push_id and opened.settings.is_embedded:
            _say_unfinished(opened, partner, push_id)
    raise typer.Exit(UNFINISHED if trouble else 0)


def requested(
    opened: Session,
    partner: str,
    period: BillingPeriod,
    lines: Sequence[PushLine],
    *,
    mode: PushMode,
    requested_by: str,
    confirmations: tuple[Confirmation, ...] = (),
) -> PushRequested:
    """Make a push that names the connection and the mappings which are stored now, so that it is made under these."""
    with opened.database.begin() as tx:
        connection = connections.current(tx, partner)
        known = mappings.of_companies(tx, partner, {line.company_id for line in lines})
    push_id = str(uuid7())
    return PushRequested(
        partner_id=partner,
        correlation_id=push_id,
        push_id=push_id,
        period=period,
        requested_at=opened.now(),
        requested_by=requested_by,
        mode=mode,
        connection_changed_at=connection.changed_at if connection else None,
        confirmations=confirmations,
        lines=tuple(
            line.model_copy(update={"mapping_changed_at": known[line.company_id].changed_at})
            if line.company_id in known
            else line
            for line in lines
        ),
    )


def carry_out(
    opened: Session,
    event: PushRequested,
    *,
    timeout: float,
    wait: bool = True,
    sent: str | None = None,
    see: str | None = None,
) -> bool:
    """Send a push, say `sent`, and wait until all its lines are answered; whether they are. `see` shows them."""

    def look(tx: Tx) -> Seen:
        return seen(tx, event.partner_id, event.push_id, len(event.lines))

    what = f"Push {event.period}"
    return opened.carry_out([event], look, what=what, timeout=timeout, wait=wait, sent=sent, see=see, unit="line")


def seen(tx: Tx, partner: str, push_id: str, total: int) -> Seen:
    """How far a push, or a revert, is; `total` lines are expected of it."""
    found = pushes.find(tx, partner, push_id)
    counts = answers.counts(tx, partner, push_id)
    return Seen(
        done=sum(count for status, count in counts.items() if status in FINAL),
        total=found.line_count if found else total,
        accepted=found is not None,
        finished=found is not None and found.state != "accepted",
        news=counts,
    )


def _plausible(period: BillingPeriod) -> BillingPeriod:
    """The period, unless a slip of the pen made it. Raises ValueError."""
    if period.start < EARLIEST:
        raise ValueError(f"the billing period {period} starts before {EARLIEST.year}")
    if period.start > datetime.now(UTC).date() + MAX_AHEAD:
        raise ValueError(f"the billing period {period} starts more than {MAX_AHEAD.days} days ahead")
    return period


def show(opened: Session, partner: str, push_id: str | None, *, as_json: bool, table: bool) -> bool:
    """Print one push, or the partner's Sync Status; whether it was refused, or a line failed or is held."""
    with opened.database.begin() as tx:
        found = pushes.find(tx, partner, push_id) if push_id else None
        ended = answers.completion(tx, partner, push_id) if push_id else None
        rows = results.of_push(tx, partner, push_id) if push_id else results.of_partner(tx, partner)
        missing = totals.absent_from(tx, partner, push_id)
        is_preview = found is not None and found.mode == "preview"
        known = mappings.of_companies(tx, partner, {row.company_id for row in rows}) if is_preview else {}
    summed = totals.sum_of(rows) if found is not None and found.mode != "revert" else None
    additions = {company_id: mapping.addition for company_id, mapping in known.items()}
    if as_json:
        named = {"push": _as_json(push_id, found)} if push_id else {}
        of_preview = {"preview": preview_totals.as_json(rows, additions)} if is_preview else {}
        dump({"partner_id": partner} | named | of_preview | results.as_json(rows) | totals.as_json(summed, missing))
    elif table and push_id and found is None:
        complain(f"No worker has accepted a push {push_id} of partner {partner} yet.")
        raise typer.Exit(USAGE)
    elif table and ended is not None and ended.status == "refused" and ended.problem is not None:
        causes.show([causes.of_problem("bad", "Refused", ended.problem)])
    elif table and rows:
        results_table.show(rows)
        if is_preview:
            preview_totals.show(rows, additions)
        if found is not None and summed is not None:
            totals.say_sum(summed, found.mode)
        if missing is not None:
            totals.say_absent(*missing)
        if push_id:
            explain(rows)
    elif table:
        say(f"Nothing has been pushed for partner {partner} yet.")
    return results.has_trouble(rows) or (found is not None and found.state == "refused")


def _say_unfinished(opened: Session, partner: str, push_id: str) -> None:
    """Say how a push goes on of which lines wait, as nothing may be running."""
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
