"""`mapping`: map companies to ConnectWise additions, one at a time or from a file, and check the mappings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from messages import MappingChanged, MappingCheckRequested, SharingRule
from messages.values import MAX_COUNT
from store import Tx, connections, mappings
from store.mappings import Mapping
from worker.cli.commands import Commands
from worker.cli.display import mapping_table as table
from worker.cli.display.causes import listed
from worker.cli.display.output import complain, dump, plural, say
from worker.cli.exits import UNFINISHED, USAGE
from worker.cli.known_company import company_id_of
from worker.cli.known_partner import require_known_partner
from worker.cli.mapping_terms import records, terms, with_kept
from worker.cli.options import AsJson, By, Company, CsvFile, NoWait, Partner, Timeout, Yes, agree, usage
from worker.cli.session import Session, WorkProgress, session, still_running
from worker.cli.similar_ids import check_similar_ids
from worker.spreadsheet import MAX_CW_ID, read_mappings, write_mappings

commands = Commands(no_args_is_help=True)

CwId = Annotated[int | None, typer.Option(min=1, max=MAX_CW_ID, metavar="ID", help="Id of the record in ConnectWise.")]


@commands.command("set")
def set_(
    partner: Partner,
    company: Company,
    cw_company: CwId = None,
    agreement: CwId = None,
    addition: CwId = None,
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The company's name; by default the stored one.")
    ] = None,
    rule: Annotated[
        SharingRule | None,
        typer.Option(help="If other companies are mapped to the same addition: refuse (the default), or sum users."),
    ] = None,
    minimum: Annotated[
        int | None, typer.Option(min=0, max=MAX_COUNT, metavar="N", help="Bill at least so many users.")
    ] = None,
    no_minimum: Annotated[bool, typer.Option("--no-minimum", help="Take the minimum away.")] = False,
    allow_not_billable: Annotated[
        bool | None,
        typer.Option(help="Set the quantity also if the addition is not Billable: counted for its cost only."),
    ] = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Map one company. Prints what the check found, exit code 1 if invalid. `mapping remove` unmaps.

    Of a company that is mapped, the rule, the minimum and what is allowed stay as they are unless they are named. So do
    its records in ConnectWise, but those to the right of a named one are to be named as well.

    Example: phin-connectwise mapping set --partner msp-1 --company c-17 --cw-company 250 --agreement 7 --addition 11
    """
    if no_minimum and minimum is not None:
        raise typer.BadParameter("give either --minimum or --no-minimum")
    options = {"rule": rule, "minimum": minimum, "allow_not_billable": allow_not_billable}
    named = {name: value for name, value in options.items() if value is not None or (name == "minimum" and no_minimum)}
    with session(works=not no_wait) as opened:
        at = opened.now()
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            company = company_id_of(tx, partner, company)
            stored = mappings.of_companies(tx, partner, {company}).get(company)
            is_same = stored is not None and connections.is_same_tenant(tx, partner, stored.changed_at, at)
        check_similar_ids(opened.database, partner, [company])
        given = (cw_company, agreement, addition)
        chosen = records(stored if is_same else None, given, is_named=bool(named or name))
        with usage():
            event = MappingChanged(
                partner_id=partner,
                correlation_id=f"mapping {at.isoformat()}",
                changed_at=at,
                company_id=company,
                company_name=name or (stored.company_name if stored else company),
                **chosen,
                **terms(stored, named),
            )
        _save_and_show(opened, partner, [event], wait=not no_wait, timeout=timeout, as_json=as_json)


@commands.command()
def remove(
    partner: Partner,
    company: Company,
    *,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Unmap one company: pushes skip it from now on. Its addition keeps the quantity that it has. Asks first.

    Example: phin-connectwise mapping remove --partner msp-1 --company c-17
    """
    with session(works=not no_wait) as opened:
        at = opened.now()
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            company = company_id_of(tx, partner, company)
            stored = mappings.of_companies(tx, partner, {company}).get(company)
        if stored is None or stored.cw_company_id is None:
            complain(f"The company {company} is not mapped.")
            raise typer.Exit(USAGE)
        with usage():
            event = MappingChanged(
                partner_id=partner,
                correlation_id=f"mapping {at.isoformat()}",
                changed_at=at,
                company_id=company,
                company_name=stored.company_name,
            )
        _agree(opened, partner, [event], yes=yes)
        _save_and_show(opened, partner, [event], wait=not no_wait, timeout=timeout, as_json=as_json)


@commands.command("import")
def import_(
    partner: Partner,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The CSV or XLSX file.")],
    *,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 600.0,
    as_json: AsJson = False,
) -> None:
    """Map all companies of a file, and print which mappings are complete. Exit code 1 if one is invalid.

    Columns: company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum; if a company needs it, also
    allow_not_billable (yes or no). Blank ids = unmapped: asks first if a mapped company is to be. If the file has a
    mistake, nothing is sent. Companies that the file does not name stay as they are; without the column
    allow_not_billable, so does what is allowed.
    """
    with session(works=not no_wait) as opened:
        with usage():
            events = read_mappings(file, partner, opened.now())
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            stored = mappings.of_companies(tx, partner, {event.company_id for event in events})
        # An export also has unmapped companies, whose ids may be similar to those of mapped ones.
        named = [event.company_id for event in events if event.cw_company_id or event.company_id not in stored]
        check_similar_ids(opened.database, partner, named)
        events = with_kept(events, stored)
        _agree(opened, partner, events, yes=yes)
        _save_and_show(opened, partner, events, wait=not no_wait, timeout=timeout, as_json=as_json)


@commands.command()
def export(
    partner: Partner,
    file: CsvFile = Path("-"),
) -> None:
    """Write all mappings of a partner as `mapping import` reads them."""
    with session() as opened, opened.database.begin() as tx:
        require_known_partner(tx, partner)
        found = mappings.of_partner(tx, partner)
    text = write_mappings(found)
    if file == Path("-"):
        typer.echo(text, nl=False)
    else:
        # Excel takes UTF-8 for another code page unless it begins with a byte order mark.
        file.write_text(text, encoding="utf-8-sig", newline="")
        complain(f"Written: {file}, with {plural(len(found), 'mapping')} of partner {partner}.")


@commands.command("list")
def list_(partner: Partner, *, as_json: AsJson = False) -> None:
    """List a partner's mappings with what ConnectWise says of them."""
    with session() as opened, opened.database.begin() as tx:
        require_known_partner(tx, partner)
        found = mappings.of_partner(tx, partner)
    if as_json:
        dump(table.document(partner, found))
    elif found:
        table.show(found)
    else:
        say(f"No company of partner {partner} is mapped.")


@commands.command()
def health(partner: Partner, *, by: By, timeout: Timeout = 600.0, as_json: AsJson = False) -> None:
    """Compare all mappings with ConnectWise now, and show those that have gone bad, with the likely successor.

    Cancelled, expired or deleted records, a product that was changed, additions that several companies share. Nothing
    is mapped by this. Exit code 1 if a mapping has gone bad.
    """
    with session(works=True) as opened:
        at = opened.now()
        event = MappingCheckRequested(
            partner_id=partner, correlation_id=f"health {at.isoformat()}", requested_at=at, requested_by=by
        )
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            before = {mapping.company_id: mapping.check for mapping in mappings.of_partner(tx, partner)}

        def progress(tx: Tx) -> WorkProgress:
            found = [mapping for mapping in mappings.of_partner(tx, partner) if mapping.cw_company_id is not None]
            done = sum(mapping.check not in (None, before.get(mapping.company_id)) for mapping in found)
            return WorkProgress(done=done, total=len(found), accepted=done > 0, finished=done == len(found))

        see = f"phin-connectwise mapping list --partner {partner}"
        finished = opened.carry_out([event], progress, what="Checking", timeout=timeout, wait=True, see=see)
        with opened.database.begin() as tx:
            found = mappings.of_partner(tx, partner)
    mapped = [mapping for mapping in found if mapping.cw_company_id is not None]
    bad = [mapping for mapping in mapped if table.state(mapping) == "invalid" or table.warnings(mapping)]
    if as_json:
        dump(table.document(partner, bad))
    else:
        if bad:
            table.show(bad)
        say(table.summary(found) if found else f"No company of partner {partner} is mapped.")
    if not finished:
        still_running(see)
    raise typer.Exit(UNFINISHED if not finished or any(table.state(mapping) == "invalid" for mapping in bad) else 0)


def save(
    opened: Session, partner: str, events: Sequence[MappingChanged], *, timeout: float, wait: bool
) -> list[Mapping]:
    """Send mappings of one version. Returns the stored ones once all have been checked, or the timeout has ended."""
    company_ids = {event.company_id for event in events}
    since = events[0].changed_at

    def progress(tx: Tx) -> WorkProgress:
        stored, checked = mappings.mapped_since(tx, partner, since)
        done, total = len(company_ids & checked), len(company_ids)
        return WorkProgress(done=done, total=total, accepted=bool(company_ids & stored), finished=done == total)

    see = f"phin-connectwise mapping list --partner {partner}"
    opened.carry_out(events, progress, what="Checking the mappings", timeout=timeout, wait=wait, see=see)
    with opened.database.begin() as tx:
        every = mappings.of_partner(tx, partner)
    return [one for one in every if one.company_id in company_ids and one.changed_at >= since]


def _agree(opened: Session, partner: str, events: Sequence[MappingChanged], *, yes: bool) -> None:
    """Ask before companies lose the addition that bills them."""
    losing = {event.company_id for event in events if event.addition_id is None}
    with opened.database.begin() as tx:
        stored = mappings.of_companies(tx, partner, losing)
    named = [f"{one.company_name} ({one.company_id})" for one in stored.values() if one.addition is not None]
    if named:
        agree(f"No push bills {listed(named)} any more; what ConnectWise holds stays. Unmap?", yes=yes)


def _save_and_show(
    opened: Session, partner: str, events: Sequence[MappingChanged], *, wait: bool, timeout: float, as_json: bool
) -> None:
    found = save(opened, partner, events, timeout=timeout, wait=wait)
    if not wait:
        complain("Sent. See it with `phin-connectwise mapping list`.")
        return
    if as_json:
        dump(table.document(partner, found))
    else:
        notable = [mapping for mapping in found if table.state(mapping) != "complete" or table.warnings(mapping)]
        if notable or len(found) == 1:
            table.show(notable or found)
        say(table.summary(found))
    if len([mapping for mapping in found if mapping.check]) < len(events):
        still_running(f"phin-connectwise mapping list --partner {partner}")
        raise typer.Exit(UNFINISHED)
    raise typer.Exit(UNFINISHED if any(table.state(mapping) == "invalid" for mapping in found) else 0)
