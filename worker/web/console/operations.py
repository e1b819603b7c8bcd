"""Actions of operators, past and present: each action with its progress, its outcome, who, when and why."""

from typing import Any

from starlette.responses import Response

from store import Tx, operation_queries, operations
from store.operation_queries import Operation
from worker.web import live
from worker.web.console.filters import key_of, key_text
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit

ON_A_PAGE = 50
NAMED = 20
"""As many letters are named among those that came back or were refused."""


def show_list(visit: Visit) -> Response:
    """All actions, the newest first; those that run stand above."""
    before, partner = key_of(visit.asked("before")), visit.asked("partner").strip()
    with visit.site.database.begin() as tx:
        found = operation_queries.newest(tx, ON_A_PAGE + 1, partner_id=partner or None, before=before)
    shown, more = found[:ON_A_PAGE], found[ON_A_PAGE:]
    next_key = key_text(shown[-1].begun_at, shown[-1].id) if more else None
    return visit.page(
        "console/operations.html", operations=shown, partner=partner, is_first=before is None, next_key=next_key
    )


def show(visit: Visit) -> Response:
    """One action; asked again while it runs."""
    with visit.site.database.begin() as tx:
        given = _given(tx, visit.asked("id"))
    return visit.page("console/_operation.html" if visit.is_partial else "console/operation.html", **given)


def follow(visit: Visit) -> Response:
    """Tell the page when the action is further."""
    name = visit.asked("id")

    def look(tx: Tx) -> tuple[object, bool]:
        found = operation_queries.find(tx, name)
        return found, found is None or found.state != "running"

    return live.stream(visit, look)


def stop(visit: Visit) -> Response:
    """Stop it: what was sent is waited for, the rest stays as it is."""
    with visit.site.database.begin() as tx:
        operation = _operation(tx, visit.field("id"))
        stopped = operations.ask_to_stop(tx, operation.id, visit.by)
    if not stopped:
        raise Refusal(409, "It does not run any more", "Its page says how it ended.")
    return visit.go("/console/operations/one", id=operation.id)


def go_on(visit: Visit) -> Response:
    """Let a stopped or interrupted one go on."""
    with visit.site.database.begin() as tx:
        operation = _operation(tx, visit.field("id"))
        goes_on = operations.go_on(tx, operation.id, visit.by)
    if not goes_on:
        raise Refusal(409, "Nothing of it is left to do, or it runs already", "Its page says how far it is.")
    visit.site.begun.set()
    return visit.go("/console/operations/one", id=operation.id)


def _given(tx: Tx, operation_id: str) -> dict[str, Any]:
    operation = _operation(tx, operation_id)
    back = operation_queries.letters_in(tx, operation.id, "came back", NAMED)
    refused = operation_queries.letters_in(tx, operation.id, "refused", NAMED)
    return {
        "operation": operation,
        "problems": operation_queries.problems(tx, operation.id),
        "letters": [*back, *refused][:NAMED],
    }


def _operation(tx: Tx, operation_id: str) -> Operation:
    operation = operation_queries.find(tx, operation_id)
    if operation is None:
        raise Refusal(404, "There is no such action", "It may have been removed since.")
    return operation


PAGES = (
    Page("GET", "/console/operations", Right.READ, show_list),
    Page("GET", "/console/operations/one", Right.READ, show),
    Page("GET", "/console/operations/one/events", Right.READ, follow),
    Page("POST", "/console/operations/stop", Right.WRITE, stop),
    Page("POST", "/console/operations/continue", Right.WRITE, go_on),
)
