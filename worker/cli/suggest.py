"""`mapping suggest`: suggest a ConnectWise company, agreement and addition for each company."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from messages import CatalogRequested, PhinCompany, Suggestion
from store import mappings
from store.mappings import Mapping as StoredMapping
from worker.catalog.suggestions import looks_like_phin
from worker.cli.catalog import Refresh, ask, explain
from worker.cli.display.mapping_table import show, state, summary
from worker.cli.display.output import complain, dump, mark, plural, safe, say, table
from worker.cli.exits import UNFINISHED
from worker.cli.known_partner import require_known_partner
from worker.cli.mapping import commands, save
from worker.cli.options import AsJson, Partner, Timeout, csv_file, usage
from worker.cli.session import session, still_running
from worker.cli.similar_ids import check_similar_ids
from worker.coordination.suggesting import (
    REASONS,
    PartnerMappings,
    Suggestions,
    by_company,
    certain_mappings,
    event_of,
    pages,
)
from worker.spreadsheet import read_companies, write_mappings


@commands.command()
def suggest(
    partner: Partner,
    *,
    counts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The companies: a file of counts, or of mappings, CSV or XLSX."),
    ] = None,
    accept_exact: Annotated[
        bool,
        typer.Option(
            "--accept-exact", help="Map those with the same name; to an addition only if it looks like Phin's."
        ),
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", dir_okay=False, help="Write the suggestions here, to edit and import.", callback=csv_file
        ),
    ] = None,
    refresh: Refresh = False,
    timeout: Timeout = 600.0,
    as_json: AsJson = False,
) -> None:
    """Suggest ConnectWise companies, agreements and additions for companies that are not mapped yet.

    Without --counts for those whose mapping was begun or removed: others are not known here. Nothing is mapped but by
    --accept-exact, which changes nothing that was chosen before. Into the --csv file come suggestions that are not
    ambiguous; edit it, then run `mapping import`. Exit code 1 if ConnectWise cannot be read or an accepted mapping is
    invalid.

    Example: phin-connectwise mapping suggest --partner msp-1 --counts counts.csv --csv mappings.csv
    """
    if csv is not None and csv.exists():
        said = "perhaps with changes that are not imported yet. Name another file, or remove it."
        raise typer.BadParameter(f"{csv} is there already, {said}", param_hint="--csv")
    named = read_companies(counts) if counts else None
    with session(works=True) as opened:
        with opened.database.begin() as tx:
            require_known_partner(tx, partner)
            known = PartnerMappings.read(tx, partner)
        companies = known.companies() if named is None else named
        check_similar_ids(opened.database, partner, [company.company_id for company in named or ()])
        asked = [company for company in companies if not known.is_mapped(company.company_id)]
        if not asked:
            complain(f"All {len(companies)} companies are mapped." if companies else "Name companies with --counts.")
            if as_json:
                dump({"suggestions": [], "accepted": []})
            return
        answers = ask(opened, _questions(partner, asked, refresh=refresh), what="Suggesting", timeout=timeout)
        for listed in answers:
            if listed.problem is not None:
                explain(listed)
                raise typer.Exit(UNFINISHED)
        if len(answers) < len(pages(asked)):
            still_running(f"phin-connectwise mapping suggest --partner {partner}")
            raise typer.Exit(UNFINISHED)
        found = by_company([one for listed in answers for one in listed.suggestions])
        if not as_json:
            _show(asked, found)
        if csv is not None:
            _write(csv, partner, asked, found, known, opened.now())
            complain(f"Written: {csv}. Edit it, then run `phin-connectwise mapping import --partner {partner} {csv}`.")
        events = certain_mappings(partner, asked, found, known, opened.now()) if accept_exact else []
        saved = save(opened, partner, events, timeout=timeout, wait=True) if events else []
    if as_json:
        every = [one.model_dump(mode="json") for some in found.values() for one in some]
        dump({"suggestions": every, "accepted": [_as_json(mapping) for mapping in saved]})
    elif saved:
        say()
        show(saved)
        say(f"Accepted: {summary(saved)}")
    elif accept_exact:
        say("Accepted: none")
    unchecked = len(events) - len([mapping for mapping in saved if mapping.check])
    if unchecked:
        still_running(f"phin-connectwise mapping list --partner {partner}")
    raise typer.Exit(UNFINISHED if unchecked or any(state(mapping) == "invalid" for mapping in saved) else 0)


def _questions(partner: str, asked: Sequence[PhinCompany], *, refresh: bool) -> list[CatalogRequested]:
    """One question for each page of companies. Only the first refreshes: the others use the lists that it has read."""
    with usage():
        return [
            CatalogRequested(
                partner_id=partner,
                correlation_id="mapping suggest",
                kind="suggestions",
                companies=tuple(some),
                refresh=refresh,
            )
            for some in pages(asked)
        ]


def _write(
    file: Path, partner: str, asked: Sequence[PhinCompany], found: Suggestions, known: PartnerMappings, at: datetime
) -> None:
    rows = []
    for company in asked:
        ids = known.ids(company.company_id)
        best = next(iter(found.get(company.company_id, ())), None)
        if best is not None and not best.ambiguous:
            ids = known.filled(company.company_id, best)
        rows.append(mappings.of_event(event_of(partner, company, ids, known, at)))
    # Excel takes UTF-8 for another code page unless it begins with a byte order mark.
    file.write_text(write_mappings(rows), encoding="utf-8-sig", newline="")


def _show(asked: Sequence[PhinCompany], found: Suggestions) -> None:
    rows: list[list[Text]] = []
    for company in asked:
        suggestions = found.get(company.company_id, ())
        if not suggestions:
            rows.append([safe(company.company_name), mark("none", "no suggestion"), Text(""), Text("")])
        for rank, one in enumerate(suggestions):
            rows.append([safe("  or" if rank else company.company_name), *_cells(one)])
    table(("Company", "Suggestion", "Score", "Proposed"), rows, right=("Score",), widest=40)
    certain = sum(some[0].certain for some in found.values())
    counts = f"{certain} certain, {len(found) - certain} to look at, {len(asked) - len(found)} without a suggestion"
    say(f"{plural(len(asked), 'company', 'companies')}: {counts}")


def _cells(one: Suggestion) -> list[Text]:
    words = REASONS.get(one.reason, one.reason.replace("_", " "))
    # The identifier distinguishes two companies of the same name.
    alike = f" ({one.cw_company_identifier})" if one.ambiguous and one.cw_company_identifier else ""
    why = "ambiguous" if one.ambiguous else words
    named = mark("good" if one.certain else "unknown")
    named.append_text(safe(f" {one.cw_company_name}{alike} #{one.cw_company_id}: {why}"))
    return [named, Text(f"{one.score:g}"), safe(_proposed(one))]


def _proposed(one: Suggestion) -> str:
    if one.agreement is None:
        return "choose agreement and addition"
    if one.addition is None:
        return f"{one.agreement.name} > choose the addition"
    only = "" if looks_like_phin(one.addition) else " (the only one)"
    return f"{one.agreement.name} > {one.addition.name}{only}"


def _as_json(mapping: StoredMapping) -> dict[str, Any]:
    return {
        "company_id": mapping.company_id,
        "cw_company_id": mapping.cw_company_id,
        "agreement_id": mapping.agreement_id,
        "addition_id": mapping.addition_id,
        "state": state(mapping),
    }
