"""Companies: the billable users of a period, what each company is mapped to, and what became of the last push."""

from collections import Counter
from typing import Any

from starlette.responses import Response

from messages import BillingPeriod
from store import connections, portal, push_list
from store.portal_watch import state_of_partner
from worker.coordination import similar_ids
from worker.spreadsheet import MAX_FILE, SpreadsheetError, counts_of
from worker.web.live import stream
from worker.web.pages import Page
from worker.web.portal import asked_suggestions, sums
from worker.web.portal import period as periods
from worker.web.portal import rows as company_rows
from worker.web.portal.rows import CompanyRow
from worker.web.rights import Right
from worker.web.visit import Visit

ON_A_PAGE = 50
SHOWS = {"all": "All", "unmapped": "Not mapped", "failed": "Failed", "held": "Held"}
FORM = 64 * 1024
MISTAKES_SHOWN = 10


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("portal/companies.html", **_content(visit))


def part(visit: Visit) -> Response:
    """Show the part of the page that changes."""
    return visit.page("portal/_companies.html", **_content(visit))


def events(visit: Visit) -> Response:
    """Changes of mappings, their checks, and results."""
    partner = visit.partner
    return stream(visit, lambda tx: (state_of_partner(tx, partner), False))


def take_counts(visit: Visit) -> Response:
    """Read a file of counts, and keep them for its period; a file with a mistake changes nothing."""
    chosen = visit.file("counts")
    period = periods.parsed(visit.field("period"))
    if chosen is None:
        return _mistakes(visit, period, ["Choose a CSV or XLSX file first."])
    try:
        lines = counts_of(chosen.filename or "file", chosen.file.read(MAX_FILE + 1))
    except SpreadsheetError as error:
        return _mistakes(visit, period, str(error).splitlines())
    if not lines:
        return _mistakes(visit, period, [f"{chosen.filename}: no company is in it."])
    with visit.site.database.begin() as tx:
        mistakes = similar_ids.find(tx, visit.partner, [line.company_id for line in lines]).mistakes()
    if mistakes:
        return _mistakes(visit, period, mistakes)
    with visit.site.database.begin() as tx:
        portal.replace_counts(tx, visit.partner, period.key, lines, visit.by)
    return visit.go("/portal/companies", period=period.key)


def _content(visit: Visit, posted: BillingPeriod | None = None) -> dict[str, Any]:
    """`posted`: the period of a form, in place of the one that the address names."""
    with visit.site.database.begin() as tx:
        period = posted or periods.asked(visit, tx)
        asked = asked_suggestions.read(tx, visit.partner)
        every = company_rows.read(tx, visit.partner, period.key, asked.found)
        imports = portal.imports(tx, visit.partner)
        connection = connections.current(tx, visit.partner)
        running = push_list.running(tx, visit.partner)
        hints = similar_ids.find(tx, visit.partner, [row.company_id for row in every if row.users is not None]).hints()
    show, search = visit.asked("show", "all"), visit.asked("search").strip()
    shown = [row for row in every if _is_shown(row, show) and _is_found(row, search)]
    number = max(1, visit.number("page") or 1)
    states = Counter(row.state for row in every)
    return {
        "period": period,
        "is_past": periods.is_past(period),
        "imports": imports,
        "imported": next((one for one in imports if one.period_key == period.key), None),
        "is_connected": connection is not None and connection.tenant is not None,
        "running": running,
        "rows": shown[(number - 1) * ON_A_PAGE : number * ON_A_PAGE],
        "total": len(shown),
        "number": number,
        "pages": max(1, -(-len(shown) // ON_A_PAGE)),
        "every": len(every),
        "counts": {name: states[name] for name in SHOWS} | {"all": len(every)},
        "shows": SHOWS,
        "show": show,
        "search": search,
        "terms": sums.of_rows(every),
        "compared": sums.compared(every, period.key),
        "suggestions": asked,
        "certain": sum(row.suggestion is not None and row.suggestion.certain and row.ids[0] is None for row in every),
        "unmapped": states["unmapped"],
        "hints": hints,
        "problems": [],
    }


def _mistakes(visit: Visit, period: BillingPeriod, said: list[str]) -> Response:
    shown = said[:MISTAKES_SHOWN]
    if len(said) > len(shown):
        shown.append(f"and {len(said) - len(shown):,} more")
    return visit.page("portal/companies.html", 422, **(_content(visit, period) | {"problems": shown}))


def _is_shown(row: CompanyRow, show: str) -> bool:
    return show not in SHOWS or show in {"all", row.state}


def _is_found(row: CompanyRow, search: str) -> bool:
    words = search.casefold().split()
    text = " ".join(filter(None, (row.company_name, row.company_id, *row.names))).casefold()
    return all(word in text for word in words)


PAGES = (
    Page("GET", "/portal/companies", Right.COORDINATE, show),
    Page("GET", "/portal/companies/part", Right.COORDINATE, part),
    Page("GET", "/portal/companies/events", Right.COORDINATE, events),
    Page("POST", "/portal/counts", Right.COORDINATE, take_counts, largest=MAX_FILE + FORM),
)
