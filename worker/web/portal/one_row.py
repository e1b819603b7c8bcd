"""One row of the page of companies, as the script of the page puts it in place after a choice."""

from typing import Any

from starlette.responses import Response

from worker.web.portal import asked_suggestions
from worker.web.portal import period as periods
from worker.web.portal import rows as company_rows
from worker.web.portal.rows import CompanyRow
from worker.web.visit import Visit


def find_row(visit: Visit, company_id: str) -> CompanyRow | None:
    """The row of a company; None = it is neither imported nor mapped."""
    with visit.site.database.begin() as tx:
        period = periods.asked(visit, tx)
        asked = asked_suggestions.read(tx, visit.partner)
        found = company_rows.read(tx, visit.partner, period.key, asked.found)
    return next((one for one in found if one.company_id == company_id), None)


def row_of(visit: Visit, company_id: str, **more: Any) -> Response:  # noqa: ANN401 - for the template
    """One row, as it is now."""
    row = find_row(visit, company_id)
    if row is None:
        return visit.go("/portal/companies", period=visit.asked("period"))
    with visit.site.database.begin() as tx:
        asked, period = asked_suggestions.read(tx, visit.partner), periods.asked(visit, tx)
    return visit.page("portal/_company_alone.html", row=row, period=period, suggestions=asked, **more)
