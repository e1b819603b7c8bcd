"""`mapping`: which addition a company's billable users go to; one at a time, or all in a file."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from messages import MappingChanged, MappingChecked, MappingCheckRequested, Problem, SharingRule
from messages.envelope import MAX_COUNT
from store import Tx, mappings
from store.mappings import Mapping
from worker.cli.exits import UNFINISHED
from worker.cli.like_ids import hint_at_like_ids
from worker.cli.options import AsJson, NoWait, Partner, Timeout, identifier, usage
from worker.cli.output import complain, dump, mark, safe, say, table
from worker.cli.session import Seen, Session, session, still_running
from worker.spreadsheet import MAX_CW_ID, read_mappings, write_mappings

commands = typer.Typer(no_args_is_help=True, help="Map companies to ConnectWise companies, agreements and additions.")

LOOKS = {"complete": "good", "incomplete": "none", "invalid": "bad", "not checked": "waiting"}
"""Which mark the state of a mapping has."""

CwId = Annotated[int | None, typer.Option(min=1, max=MAX_CW_ID, metavar="ID", help="Id of the record in ConnectWise.")]


@commands.command("set")
def set_(
    partner: Partner,
    company: Annotated[str, typer.Option(metavar="ID", help="The company's id in Phin.", callback=identifier)],
    *,
    name: Annotated[str | None, typer.Option(help="The company's name; by default the stored one.")] = None,
    cw_company: CwId = None,
    agreement: CwId = None,
    addition: CwId = None,
    rule: Annotated[
        SharingRule,
        typer.Option(help="If other companies are mapped to the same addition: refuse, or sum their users."),
    ] = "refuse",
    minimum: Annotated[
        int | None, typer.Option(min=0, max=MAX_COUNT, metavar="N", help="Bill at least so many users.")
    ] = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Map one company; with no ConnectWise ids it is unmapped. Prints what the check found, exit code 1 if invalid.

    Example: phin-connectwise mapping set --partner msp-1 --company c-17 --cw-company 250 --agreement 7 --addition 11
    """
    with session(works=not no_wait) as opened:
        at = opened.now()
        with opened.database.begin() as tx:
            stored = mappings.of_companies(tx, partner, {company}).get(company)
        hint_at_like_ids(opened.database, partner, [company])
        with usage():
            event = MappingChanged(
                partner_id=partner,
                correlation_id=f"mapping {at.isoformat()}",
                changed_at=at,
                company_id=company,
                company_name=name or (stored.company_name if stored else company),
                cw_company_id=cw_company,
                agreement_id=agreement,
                addition_id=addition,
                rule=rule,
                minimum=minimum,
            )
        _save_and_show(opened, partner, [event], wait=not no_wait, timeout=timeout, as_json=as_json)


@commands.command("import")
def import_(
    partner: Partner,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The CSV or XLSX file.")],
    *,
    no_wait: NoWait = False,
    timeout: Timeout = 600.0,
    as_json: AsJson = False,
) -> None:
    """Map all companies of a file, and print which mappings are complete. Exit code 1 if one is invalid.

    Columns: company_id,company_name,cw_company_id,agreement_id,addition_id,rule,minimum. Blank ids = unmapped. If the
    file has a mistake, nothing is sent. Companies that the file does not name stay as they are.
    """
    with session(works=not no_wait) as opened:
        with usage():
            events = read_mappings(file, partner, opened.now())
        hint_at_like_ids(opened.database, partner, [event.company_id for event in events])
        _save_and_show(opened, partner, events, wait=not no_wait, timeout=timeout, as_json=as_json)


@commands.command()
def export(
    partner: Partner,
    file: Annotated[
        Path, typer.Argument(dir_okay=False, allow_dash=True, help="The CSV file, - = standard output.")
    ] = Path("-"),
) -> None:
    """Write all mappings of a partner as `mapping import` reads them."""
    with session() as opened, opened.database.begin() as tx:
        text = write_mappings(mappings.of_partner(tx, partner))
    if file == Path("-"):
        typer.echo(text, nl=False)
    else:
        # Excel takes UTF-8 for another code page unless it begins with a byte order mark.
        file.write_text(text, encoding="utf-8-sig", newline="")


@commands.command("list")
def list_(partner: Partner, *, as_json: AsJson = False) -> None:
    """List a partner's mappings with what ConnectWise says of them."""
    with session() as opened, opened.database.begin() as tx:
        found = mappings.of_partner(tx, partner)
    if as_json:
        dump([_as_json(mapping) for mapping in found])
    elif found:
        show(found)
    else:
        say(f"No company of partner {partner} is mapped.")


@commands.command()
def health(partner: Partner, *, timeout: Timeout = 600.0, as_json: AsJson = False) -> None:
    """Compare all mappings with ConnectWise now, and show those that have gone bad, with the likely successor.

    Cancelled, expired or deleted records, a product that was changed, additions that several companies share. Nothing
    is mapped by this. Exit code 1 if a mapping has gone bad.
    """
    with session(works=True) as opened:
        at = opened.now()
        event = MappingCheckRequested(
            partner_id=partner, correlation_id=f"health {at.isoformat()}", requested_at=at, requested_by="command line"
        )
        with opened.database.begin() as tx:
            before = {mapping.company_id: mapping.check for mapping in mappings.of_partner(tx, partner)}

        def look(tx: Tx) -> Seen:
            found = [mapping for mapping in mappings.of_partner(tx, partner) if mapping.cw_company_id is not None]
            done = sum(mapping.check not in (None, before.get(mapping.company_id)) for mapping in found)
            return Seen(done=done, total=len(found), accepted=done > 0, finished=done == len(found))

        see = f"phin-connectwise mapping list --partner {partner}"
        finished = opened.carry_out([event], look, what="Checking", timeout=timeout, wait=True, see=see)
        with opened.database.begin() as tx:
            found = mappings.of_partner(tx, partner)
    mapped = [mapping for mapping in found if mapping.cw_company_id is not None]
    bad = [mapping for mapping in mapped if state(mapping) == "invalid" or _warnings(mapping)]
    if as_json:
        dump([_as_json(mapping) for mapping in bad])
    else:
        if bad:
            show(bad)
        say(summary(found) if found else f"No company of partner {partner} is mapped.")
    if not finished:
        still_running(see)
    raise typer.Exit(UNFINISHED if not finished or any(state(mapping) == "invalid" for mapping in bad) else 0)


def save(
    opened: Session, partner: str, events: Sequence[MappingChanged], *, timeout: float, wait: bool
) -> list[Mapping]:
    """Send mappings of one version; those that are stored when all have been checked, or when time is up."""
    ours = {event.company_id for event in events}
    since = events[0].changed_at

    def look(tx: Tx) -> Seen:
        stored, checked = mappings.since(tx, partner, since)
        done = len(ours & checked)
        return Seen(done=done, total=len(ours), accepted=bool(ours & stored), finished=done == len(ours))

    see = f"phin-connectwise mapping list --partner {partner}"
    opened.carry_out(events, look, what="Checking the mappings", timeout=timeout, wait=wait, see=see)
    with opened.database.begin() as tx:
        return [m for m in mappings.of_partner(tx, partner) if m.company_id in ours and m.changed_at >= since]


def show(found: Sequence[Mapping]) -> None:
    """Print mappings with the names of their records, and what to do about those that are not complete."""
    table(("Company", "ConnectWise", "", "What to do"), [_cells(mapping) for mapping in found])


def state(mapping: Mapping) -> str:
    """`complete`, `incomplete` or `invalid`, as the check found; `not checked` before."""
    checked = _checked(mapping)
    return checked.status if checked else "not checked"


def summary(found: Sequence[Mapping]) -> str:
    """How many mappings have each state."""
    counts = Counter(state(mapping) for mapping in found)
    told = ", ".join(f"{counts[one]} {one}" for one in LOOKS if counts[one])
    return f"{len(found):,} {'company' if len(found) == 1 else 'companies'}: {told}"


def _save_and_show(
    opened: Session, partner: str, events: Sequence[MappingChanged], *, wait: bool, timeout: float, as_json: bool
) -> None:
    found = save(opened, partner, events, timeout=timeout, wait=wait)
    if not wait:
        complain("Sent. See it with `phin-connectwise mapping list`.")
        return
    if as_json:
        dump([_as_json(mapping) for mapping in found])
    else:
        unlike = [mapping for mapping in found if state(mapping) != "complete"]
        if unlike or len(found) == 1:
            show(unlike or found)
        say(summary(found))
    if len([mapping for mapping in found if mapping.check]) < len(events):
        still_running(f"phin-connectwise mapping list --partner {partner}")
        raise typer.Exit(UNFINISHED)
    raise typer.Exit(UNFINISHED if any(state(mapping) == "invalid" for mapping in found) else 0)


def _warnings(mapping: Mapping) -> tuple[Problem, ...]:
    checked = _checked(mapping)
    return checked.warnings if checked else ()


def _checked(mapping: Mapping) -> MappingChecked | None:
    if mapping.check is None:
        return None
    return MappingChecked.model_validate_json(json.dumps(mapping.check), extra="ignore")


def _cells(mapping: Mapping) -> list[Text]:
    checked = _checked(mapping)
    names = (checked.cw_company_name, checked.agreement_name, checked.addition_name) if checked else (None,) * 3
    ids = (mapping.cw_company_id, mapping.agreement_id, mapping.addition_id)
    chosen = [name or f"#{number}" for name, number in zip(names, ids, strict=True) if number is not None]
    details = ["sum"] if mapping.rule == "sum" else []
    if mapping.minimum is not None:
        details.append(f"at least {mapping.minimum}")
    where = " > ".join(chosen) + (f" ({', '.join(details)})" if details and chosen else "")
    found = state(mapping)
    return [safe(mapping.company_name), safe(where), mark(LOOKS[found], found), safe(_what_to_do(mapping, checked))]


def _what_to_do(mapping: Mapping, checked: MappingChecked | None) -> str:
    if checked is not None and (checked.problems or checked.warnings):
        said = [f"{problem.title}. {problem.fix}" for problem in (*checked.problems, *checked.warnings)]
        if (new := checked.successor) is not None:
            said.append(
                f"Likely successor: {new.agreement_name} > {new.addition_name}"
                f" (agreement {new.agreement_id}, addition {new.addition_id})."
            )
        return " ".join(said)
    if mapping.addition is None:
        missing = "company, agreement and addition" if mapping.cw_company_id is None else "agreement and addition"
        return f"Choose {missing}." if mapping.agreement_id is None else "Choose the addition."
    return ""


def _as_json(mapping: Mapping) -> dict[str, Any]:
    return {
        "company_id": mapping.company_id,
        "company_name": mapping.company_name,
        "changed_at": mapping.changed_at.isoformat(),
        "cw_company_id": mapping.cw_company_id,
        "agreement_id": mapping.agreement_id,
        "addition_id": mapping.addition_id,
        "rule": mapping.rule,
        "minimum": mapping.minimum,
        "state": state(mapping),
        "check": mapping.check,
    }
