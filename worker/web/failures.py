"""The answers that a visitor reads instead of a page that could not be made."""

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from messages import PublishError
from store import SchemaOutdated, StoreError
from worker.bootstrap import UnroutableMessage
from worker.messaging.broker import BrokerUnavailable
from worker.web.partner_locks import Busy
from worker.web.rendering import render
from worker.web.users import UsersError
from worker.web.visit import Refusal, Visit

_OF_STATUS = {
    400: ("This request cannot be read", "Load the page anew, and try again."),
    401: ("You are signed out", "Sign in, then try again. Nothing was changed."),
    404: ("There is no such page", "Go to the first page, and choose from there."),
    405: ("This cannot be done here", "Go to the first page, and choose from there."),
    411: ("This request names no length", "Use a browser."),
    413: ("This is too large", "Nothing was read or changed. Send less: a smaller file, or a shorter text."),
}
_UNKNOWN = (
    "Something went wrong here",
    "The log of these pages names it. Ask who runs them.",
)

log = structlog.get_logger()


def explain(visit: Visit, error: Exception) -> Response:
    """The page of an error, expected or not; the script of a page gets a notice for the page's messages."""
    refusal = _refusal(visit, error)
    said = {"status": refusal.status, "title": refusal.title, "advice": refusal.advice}
    if visit.is_partial:
        headers = {"HX-Retarget": "#messages", "HX-Reswap": "innerHTML"}
        return HTMLResponse(render("_failure.html", said), refusal.status, headers)
    return visit.page("failure.html", refusal.status, **said)


def _refusal(visit: Visit, error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case HTTPException():
            return Refusal(error.status_code, *_OF_STATUS.get(error.status_code, _UNKNOWN))
        case SchemaOutdated() | StoreError():
            log.warning("web.unavailable", path=visit.request.url.path, error=str(error))
            return Refusal(503, "The database does not answer", "Try again in a moment. Repeating is safe.")
        case PublishError() | UnroutableMessage() | BrokerUnavailable():
            log.warning("web.unavailable", path=visit.request.url.path, error=str(error))
            return Refusal(503, "It could not be sent", "The queue does not take it now. Try again; repeating is safe.")
        case Busy():
            return Refusal(503, "Your last change is still being sent", "This one was not. Try again in a moment.")
        case UsersError():
            log.error("web.users_unreadable", error=str(error))
            return Refusal(503, "Nobody can sign in now", "The file of users cannot be read.")
    log.error("web.failed", path=visit.request.url.path, exc_info=error)
    return Refusal(500, *_UNKNOWN)
