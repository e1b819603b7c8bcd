"""Preview and push: what would change or has changed, live; confirming, retrying what failed, cancelling, reverting."""

import csv
import io
from datetime import datetime, timedelta

from starlette.responses import Response

from messages import Confirmation, PushCancelRequested, PushLine, PushMode, RevertRequested
from store import Tx, line_results, now, portal, portal_requests, pushes
from store.pushes import Push
from worker.coordination import pushing, results, waiting
from worker.coordination.confirmations import confirmation_of, is_confirmable
from worker.coordination.results import ResultRow
from worker.spreadsheet import escape_formula
from worker.web.live import stream
from worker.web.pages import Page
from worker.web.portal import once, overtaken, sent_push
from worker.web.portal import period as periods
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit

COLUMNS = (
    "company_id",
    "company_name",
    "billable_users",
    "status",
    "quantity_before",
    "quantity_wanted",
    "quantity_after",
    "problem",
    "what_to_do",
    "where",
    "link",
)
LATE = timedelta(minutes=1)
"""After so long something is wrong with an event, or with the workers."""
LARGE_FORM = 2 * 1024 * 1024


def show(visit: Visit) -> Response:
    """The push, as far as it is."""
    return visit.page("portal/push.html", **_told(visit))


def part(visit: Visit) -> Response:
    """Show the part of the page that changes."""
    return visit.page("portal/_push.html", **_told(visit))


def events(visit: Visit) -> Response:
    """Progress while it runs."""
    partner, push_id = visit.partner, visit.asked("push")

    def look(tx: Tx) -> tuple[object, bool]:
        found = pushes.find(tx, partner, push_id)
        counts = line_results.count_by_status(tx, partner, push_id)
        is_over = found is not None and found.state != "accepted"
        waits = None if is_over else waiting.cause(tx, visit.site.settings, partner)
        return (found is not None, counts, waits, _is_late(tx, portal_requests.sent_at(tx, partner, push_id))), is_over

    return stream(visit, look)


def send(visit: Visit) -> Response:
    """Send a push or a preview: of the imported counts, or of the lines of another push, or of those that failed there.

    Lines that are ticked are confirmed as that push has shown them.
    """
    partner, source = visit.partner, visit.field("of")
    mode: PushMode
    match visit.field("mode"):
        case "preview" | "apply" as mode:
            pass
        case _:
            raise Refusal(400, "Neither a preview nor a push was asked for", "Load the page anew, and try again.")
    with visit.site.database.begin() as tx:
        if source:
            push = _known(tx, partner, source)
            period, rows = push.period, results.of_push(tx, partner, source)
            confirmed = _confirmed(rows, set(visit.fields("confirm")))
            is_retry = visit.field("only") == "failed"
            if is_retry:
                failed = sent_push.to_retry(tx, partner, rows)
                rows = [row for row in rows if row.company_id in failed]
            lines = [_line(row) for row in rows]
            why = overtaken.why(tx, push, rows, "preview" if mode == "preview" else "retry" if is_retry else "push")
        else:
            period, confirmed, why = periods.asked(visit, tx), (), ""
            lines = portal.counts(tx, partner, period.key)
        push_id = once.request_id(visit, mode, period.key, *(one.model_dump_json() for one in (*lines, *confirmed)))
        is_there = pushes.find(tx, partner, push_id) is not None
    if not lines:
        raise Refusal(409, "There is nothing to push", "Import the counts of this period first.")
    if why and not is_there:
        raise Refusal(409, "These numbers are not the newest", f"{why} Load its page anew, and go on from there.")
    if not is_there:
        event = pushing.requested(
            visit.site.database,
            partner,
            period,
            lines,
            mode=mode,
            requested_by=visit.by,
            confirmations=confirmed,
            push_id=push_id,
        )
        once.send(visit, push_id, event)
    return visit.go("/portal/push", push=push_id, lines=len(lines), mode=mode)


def cancel(visit: Visit) -> Response:
    """Stop what is not written yet."""
    push_id = visit.field("push")
    with visit.site.database.begin() as tx:
        at = now(tx)
        _known(tx, visit.partner, push_id)
    event = PushCancelRequested(
        partner_id=visit.partner,
        correlation_id=f"cancel {at.isoformat()}",
        push_id=push_id,
        requested_at=at,
        requested_by=visit.by,
    )
    visit.site.send([event])
    return visit.go("/portal/push", push=push_id)


def revert(visit: Visit) -> Response:
    """Put back what additions held before a push."""
    push_id = visit.field("push")
    with visit.site.database.begin() as tx:
        push = _known(tx, visit.partner, push_id)
    revert_id = once.request_id(visit, "revert", push_id)
    event = RevertRequested(
        partner_id=visit.partner,
        correlation_id=revert_id,
        revert_id=revert_id,
        push_id=push_id,
        requested_at=visit.site.now(),
        requested_by=visit.by,
    )
    once.send(visit, revert_id, event)
    return visit.go("/portal/push", push=revert_id, lines=push.line_count, mode="revert")


def download(visit: Visit) -> Response:
    """The lines of a push as CSV, with the sum that closes in the first rows."""
    push_id = visit.asked("push")
    with visit.site.database.begin() as tx:
        push = _known(tx, visit.partner, push_id)
        found = sent_push.read(tx, visit.partner, push_id)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("sum", "companies", "users"))
    writer.writerows((term.name, term.companies, term.users) for term in found.terms)
    writer.writerow(())
    writer.writerow(COLUMNS)
    writer.writerows(_cells(row) for row in found.rows)
    return csv_file(text.getvalue(), f"{push.mode}-{push.period.key.replace('/', '_')}.csv")


def csv_file(text: str, name: str) -> Response:
    """A file for spreadsheet programs."""
    # They take UTF-8 for another code page unless it begins with a byte order mark.
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


def _told(visit: Visit) -> dict[str, object]:
    push_id = visit.asked("push")
    with visit.site.database.begin() as tx:
        asked = visit.asked("mode")
        found = sent_push.read(tx, visit.partner, push_id, asked if asked in sent_push.TITLES else "apply")
        waits = None if found.is_over else waiting.cause(tx, visit.site.settings, visit.partner)
        sent_at = portal_requests.sent_at(tx, visit.partner, push_id)
        is_late = _is_late(tx, sent_at)
    if found.push is None and sent_at is None:
        raise Refusal(404, "There is no such push", "History names all pushes.")
    return {
        "found": found,
        "push": found.push,
        "lines": visit.number("lines"),
        "waits": waits,
        "is_late": is_late,
        "is_past": found.push is not None and periods.is_past(found.push.period),
        "confirmable": {row.company_id for row in found.confirmable},
    }


def _is_late(tx: Tx, sent_at: datetime | None) -> bool:
    return sent_at is not None and now(tx) > sent_at + LATE


def _known(tx: Tx, partner: str, push_id: str) -> Push:
    push = pushes.find(tx, partner, push_id)
    if push is None:
        raise Refusal(404, "There is no such push", "History names all pushes.")
    return push


def _line(row: ResultRow) -> PushLine:
    return PushLine(company_id=row.company_id, company_name=row.company_name, billable_users=row.billable_users)


def _confirmed(rows: list[ResultRow], ticked: set[str]) -> tuple[Confirmation, ...]:
    held = [row.result for row in rows if row.company_id in ticked and row.status == "held" and row.result is not None]
    return tuple(confirmation_of(result) for result in held if is_confirmable(result))


def _cells(row: ResultRow) -> list[object]:
    result = row.result
    problem = next(iter(result.reasons), result.problem) if result else None
    texts = [problem.title, problem.fix, problem.where or "", problem.link or ""] if problem else [""] * 4
    quantities = [result.quantity_before, result.quantity_wanted, result.quantity_after] if result else [None] * 3
    names = [escape_formula(row.company_id), escape_formula(row.company_name)]
    return [*names, row.billable_users, row.shown, *quantities, *map(escape_formula, texts)]


PAGES = (
    Page("GET", "/portal/push", Right.COORDINATE, show),
    Page("GET", "/portal/push/part", Right.COORDINATE, part),
    Page("GET", "/portal/push/events", Right.COORDINATE, events),
    Page("GET", "/portal/push.csv", Right.COORDINATE, download),
    Page("POST", "/portal/push", Right.COORDINATE, send, largest=LARGE_FORM),
    Page("POST", "/portal/push/cancel", Right.COORDINATE, cancel),
    Page("POST", "/portal/revert", Right.COORDINATE, revert, largest=LARGE_FORM),
)
