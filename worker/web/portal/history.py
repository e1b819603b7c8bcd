"""History: pushes, the ledger of all writes, files of both, and a proof for one customer on one page."""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from starlette.responses import Response, StreamingResponse

from store import ledger_queries, line_results, push_list
from store.ledger_queries import LedgerFilter, LedgerWrite
from worker.coordination.ledger_rows import COLUMNS, named, row
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.times import time_of
from worker.web.visit import Visit

PUSHES, WRITES = 25, 100


def show(visit: Visit) -> Response:
    """Pushes, previews and reverts, the newest first."""
    before = time_of(visit.asked("before"))
    with visit.site.database.begin() as tx:
        found = push_list.recent(tx, visit.partner, before, PUSHES + 1)
        counts = {push.push_id: line_results.count_by_status(tx, visit.partner, push.push_id) for push in found}
    return visit.page("portal/history.html", pushes=found[:PUSHES], counts=counts, more=len(found) > PUSHES)


def ledger(visit: Visit) -> Response:
    """Writes to ConnectWise, the newest first."""
    with visit.site.database.begin() as tx:
        found = ledger_queries.newest(tx, _which(visit), WRITES + 1)
        names = ledger_queries.company_names(tx, visit.partner)
    writes = [(write, list(named(write.company_ids, names))) for write in found[:WRITES]]
    return visit.page("portal/ledger.html", writes=writes, more=len(found) > WRITES, names=names)


def download(visit: Visit) -> Response:
    """All of them as CSV, the oldest first, as they are read: there may be millions."""
    with visit.site.database.begin() as tx:
        names = ledger_queries.company_names(tx, visit.partner)
    found = ledger_queries.oldest_first(visit.site.database, _which(visit))
    headers = {"Content-Disposition": 'attachment; filename="ledger.csv"'}
    return StreamingResponse(_file(found, names), media_type="text/csv; charset=utf-8", headers=headers)


def _file(writes: Iterator[LedgerWrite], names: Mapping[str, str]) -> Iterator[bytes]:
    # Spreadsheet programs take UTF-8 for another code page unless it begins with a byte order mark.
    yield BOM_UTF8 + _lines([COLUMNS])
    while some := list(islice(writes, ledger_queries.ROWS_AT_ONCE)):
        yield _lines(row(write, names) for write in some)


def _lines(cells: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(cells)
    return text.getvalue().encode()


def proof(visit: Visit) -> Response:
    """All that was written for one customer: before, after, who, when. It is made to be printed."""
    with visit.site.database.begin() as tx:
        found: list[LedgerWrite] = ledger_queries.newest(tx, _which(visit), WRITES)
        names = ledger_queries.company_names(tx, visit.partner)
    company = visit.asked("company")
    return visit.page(
        "portal/proof.html", writes=found, company=company, name=names.get(company, company), at=visit.site.now()
    )


def _which(visit: Visit) -> LedgerFilter:
    given = {name: visit.asked(name)[:128] or None for name in ("push", "company", "period")}
    return LedgerFilter(visit.partner, given["push"], given["company"], given["period"])


PAGES = (
    Page("GET", "/portal/history", Right.COORDINATE, show),
    Page("GET", "/portal/ledger", Right.COORDINATE, ledger),
    Page("GET", "/portal/ledger.csv", Right.COORDINATE, download),
    Page("GET", "/portal/proof", Right.COORDINATE, proof),
)
