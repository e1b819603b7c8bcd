"""`ledger`: list and export all writes to ConnectWise."""

import csv
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from messages import BillingPeriod
from store import Tx, ledger_queries
from store.ledger_queries import LedgerFilter, LedgerWrite
from worker.cli.commands import Commands
from worker.cli.display.output import complain, dump, mark, plural, safe, say, table
from worker.cli.known_company import company_id_of
from worker.cli.known_partner import require_known_partner
from worker.cli.options import AsJson, CsvFile, Partner, identifier, time_of, usage
from worker.cli.session import session
from worker.coordination.ledger_rows import COLUMNS, document, named, number, row

commands = Commands(no_args_is_help=True)

OfPush = Annotated[
    str | None, typer.Option("--push", metavar="ID", help="Of this push or revert.", callback=identifier)
]
OfCompany = Annotated[
    str | None,
    typer.Option("--company", metavar="COMPANY", help="Of this company, by id or name.", callback=identifier),
]
OfPeriod = Annotated[
    str | None, typer.Option("--period", metavar="PERIOD", help="For this billing period: 2026-11, or both days.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Since then: 2026-11-22T10:00 (UTC), or 30m, 2h, 3d ago.")
]


@commands.command("list")
def list_(
    partner: Partner,
    *,
    push_id: OfPush = None,
    company: OfCompany = None,
    period: OfPeriod = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List a partner's writes, the newest first.

    Example: phin-connectwise ledger list --partner msp-1 --company c-17 --since 30d
    """
    which = _chosen(partner, push_id, company, period, since)
    with session() as opened, opened.database.begin() as tx:
        require_known_partner(tx, partner)
        found = ledger_queries.newest(tx, _of_named(tx, which), limit + 1)
        names = ledger_queries.company_names(tx, partner)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        dump({"writes": [document(write, names) for write in found], "more": more})
    elif found:
        headers = ("Opened (UTC)", "Company", "Period", "ConnectWise", "", "Result")
        for pushed, some in groupby(found, _pushed):
            say(pushed)
            table(headers, [_cells(write, names) for write in some], right=("ConnectWise",))
            say()
        if more:
            say("and more; see them with --limit, or `ledger export`")
    else:
        say(f"Nothing of this was written for partner {partner}.")


@commands.command()
def export(
    partner: Partner,
    file: CsvFile = Path("-"),
    *,
    push_id: OfPush = None,
    company: OfCompany = None,
    period: OfPeriod = None,
    since: Since = None,
) -> None:
    """Write a partner's ledger as CSV, the oldest first. Times are UTC; several companies of a sum are in one cell."""
    which = _chosen(partner, push_id, company, period, since)
    with session() as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            names = ledger_queries.company_names(tx, partner)
            which = _of_named(tx, which)
        # Excel takes UTF-8 for another code page unless it begins with a byte order mark.
        to_file = file != Path("-")
        with file.open("w", encoding="utf-8-sig", newline="") if to_file else nullcontext(sys.stdout) as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(COLUMNS)
            written = 0
            for write in ledger_queries.oldest_first(opened.database, which):
                writer.writerow(row(write, names))
                written += 1
    if to_file:
        complain(f"Written: {file}, with {plural(written, 'write')} of partner {partner}.")


def _chosen(
    partner: str, push_id: str | None, company: str | None, period: str | None, since: str | None
) -> LedgerFilter:
    """The filter of these options. Raises typer.BadParameter."""
    with usage("--period"):
        key = None if period is None else BillingPeriod.parse(period).key
    return LedgerFilter(partner, push_id, company, key, time_of(since, "--since"))


def _of_named(tx: Tx, which: LedgerFilter) -> LedgerFilter:
    """The filter, by the id of its company if the company is named."""
    if which.company_id is None:
        return which
    return replace(which, company_id=company_id_of(tx, which.partner_id, which.company_id))


def _pushed(write: LedgerWrite) -> str:
    """Return the heading of the writes of one push."""
    by = f", by {write.requested_by}" if write.requested_by else ""
    return f"{'Revert' if write.kind == 'revert' else 'Push'} {write.push_id}{by}"


def _cells(write: LedgerWrite, names: Mapping[str, str]) -> list[Text]:
    before, wanted = (_shown(quantity) for quantity in (write.quantity_before, write.quantity_wanted))
    return [
        safe(_minute(write.opened_at)),
        safe(", ".join(named(write.company_ids, names))),
        safe(write.period_key),
        safe(f"{before} → {wanted}"),
        mark({"written": "good", None: "waiting"}.get(write.outcome, "bad")),
        safe((write.outcome or "under way").replace("_", " ")),
    ]


def _shown(quantity: float | None) -> str:
    return "empty" if quantity is None else f"{number(quantity):,}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
