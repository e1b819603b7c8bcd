"""Every request passes here: whose it is, whether it comes from our own pages, and whether its user may."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode, urlsplit

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from store import web_sessions
from worker.web import failures, tokens
from worker.web.pages import Page
from worker.web.rights import LOCAL_USER, Right, User
from worker.web.site import Site
from worker.web.visit import Refusal, Visit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_FIELDS = 12_000
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field

log = structlog.get_logger()


def endpoint(site: Site, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """The page as the web server calls it."""

    async def answer(request: Request) -> Response:
        given = tokens.of_request(request, secure=site.is_secure)
        visit = Visit(site, request, None, given or tokens.fresh(), FormData())
        try:
            response = await _answer(page, visit)
        except Exception as error:  # noqa: BLE001 - a visitor reads a page, whatever has happened
            response = failures.explain(visit, error)
        if given is None and not page.path.startswith("/static/"):
            tokens.put(response, visit.token, secure=site.is_secure)
        return response

    return answer


async def _answer(page: Page, visit: Visit) -> Response:
    request = visit.request
    _check_host(visit)
    visit.user = await run_in_threadpool(user_of, visit.site, visit.token)
    if page.right is not Right.PUBLIC and visit.user is None:
        return _sign_in(visit)
    if visit.user is not None and not visit.user.may(page.right):
        log.warning("web.refused", user=visit.by, path=page.path, why="right")
        raise Refusal(403, "You may not do this", "Ask who runs these pages for the right.")
    if page.method == "POST":
        _check_origin(visit)
        _check_size(page, request)
    if page.right is Right.COORDINATE:
        _ = visit.partner  # it refuses that of others
    if page.method == "POST":
        async with request.form(max_files=1, max_fields=MAX_FIELDS) as form:
            visit.form = form
            if not tokens.is_form_token(visit.field(FORM_TOKEN), visit.token):
                raise _forged(visit, "form token")
            return await run_in_threadpool(page.answer, visit)
    return await run_in_threadpool(page.answer, visit)


def user_of(site: Site, token: str, *, is_use: bool = True) -> User | None:
    """The user whose session this token is; None if there is none, it is over, or the user or password has changed.

    `is_use`: somebody uses the pages now, so the session lasts longer.
    """
    if site.users is None:
        return LOCAL_USER
    name = tokens.session_id(token)
    with site.database.begin() as tx:
        session = web_sessions.find(tx, name)
        if session is None:
            return None
        stored = site.users.find(session.user_name)
        if stored is None or stored.credential != session.credential:
            return None
        if is_use:
            web_sessions.seen(tx, name)
    return stored.user


def _check_host(visit: Visit) -> None:
    """Refuse a name that is not ours: a page of others may have its name lead to our address."""
    host = urlsplit(f"//{visit.request.headers.get('host', '')}")
    origin = visit.site.origin
    try:
        known = host.netloc == urlsplit(origin).netloc if origin else host.hostname in LOOPBACK
    except ValueError:
        known = False
    if not known and (origin or visit.site.users is None):
        raise Refusal(421, "These pages have another address", "Open them by the address that their start has named.")


def _check_origin(visit: Visit) -> None:
    """Refuse what another site has a browser send."""
    headers = visit.request.headers
    ours = visit.site.origin or f"http://{headers.get('host', '')}"
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        raise _forged(visit, "no origin")
    if site not in {None, "same-origin"}:
        raise _forged(visit, "another site")
    if origin not in {None, ours}:
        raise _forged(visit, "another origin")


def _check_size(page: Page, request: Request) -> None:
    """Refuse a form that is too large before it is read; the server holds the sender to the length that it names."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal()):
        raise HTTPException(411)
    if int(length) > page.largest:
        raise HTTPException(413)


def _forged(visit: Visit, why: str) -> Refusal:
    log.warning("web.refused", user=visit.by, path=visit.request.url.path, why=why)
    return Refusal(403, "This form is out of date", "Load the page anew, and try again.")


def _sign_in(visit: Visit) -> Response:
    request = visit.request
    if request.method == "POST":
        raise HTTPException(401)
    here = f"{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
    target = f"/login?{urlencode({'next': here})}"
    if visit.is_partial:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return RedirectResponse(target, 303)
