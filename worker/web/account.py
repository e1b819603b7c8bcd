"""The first page, signing in, signing out, and the files that all pages use."""

import structlog
from starlette.responses import RedirectResponse, Response

from store import partners, web_sessions
from worker.web import assets, tokens
from worker.web.navigation import LINKS
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.users import MAX_PASSWORD, StoredUser
from worker.web.visit import Refusal, Visit

log = structlog.get_logger()


def first(visit: Visit) -> Response:
    """The first page: the local user chooses a partner or an area, others go to their own."""
    user = visit.user
    if user is None or not user.is_local:
        path = next((link.path for link in LINKS if visit.may(link.right)), None)
        if path is None:
            raise Refusal(404, "There is no page for you", "Ask who runs these pages for a role.")
        return RedirectResponse(path, 303)
    with visit.site.database.begin() as tx:
        known = partners.known(tx)
    return visit.page("first.html", partners=known)


def show_login(visit: Visit) -> Response:
    """The form to sign in with."""
    if visit.user is not None:
        return RedirectResponse("/", 303)
    return visit.page("login.html", next=_inside(visit.asked("next")), name="", problem="")


def login(visit: Visit) -> Response:
    """Begin a session, under a new token, as someone may have given the visitor the old one."""
    users = visit.site.users
    if users is None:
        return RedirectResponse("/", 303)
    name, password, target = visit.field("name")[:128], visit.field("password"), _inside(visit.field("next"))
    # Behind a proxy all have its address, so only names are counted.
    address = visit.request.client.host if visit.request.client and visit.site.origin is None else ""
    if (seconds := visit.site.throttle.attempt(name, address)) > 0:
        log.warning("web.sign_in_refused", user=name, why="too many failures")
        problem = f"Too many failures. Try again in {_in_words(seconds)}."
        answer = visit.page("login.html", 429, next=target, name=name, problem=problem)
        answer.headers["Retry-After"] = str(int(seconds) + 1)
        return answer
    stored = users.verify(name, password) if len(password) <= MAX_PASSWORD else None
    if stored is None:
        log.warning("web.sign_in_refused", user=name, why="name or password")
        problem = "Name or password is wrong."
        return visit.page("login.html", 401, next=target, name=name, problem=problem)
    visit.site.throttle.succeeded(name, address)
    return _begin(visit, stored, target)


def logout(visit: Visit) -> Response:
    """End all sessions of the user, on whatever device."""
    if visit.site.users is None or visit.user is None:
        raise Refusal(404, "Nobody is signed in here", "These pages are open to everybody on this machine.")
    with visit.site.database.begin() as tx:
        ended = web_sessions.end_all(tx, visit.user.name)
    log.info("web.signed_out", user=visit.by, sessions=ended)
    response = visit.go("/login")
    tokens.put(response, tokens.fresh(), secure=visit.site.is_secure)
    return response


def asset(visit: Visit) -> Response:
    """A file that all pages use."""
    name = visit.request.path_params["name"]
    if name not in assets.TYPES:
        raise Refusal(404, "There is no such file")
    return assets.answer(name)


def _begin(visit: Visit, stored: StoredUser, target: str) -> Response:
    token = tokens.fresh()
    with visit.site.database.begin() as tx:
        web_sessions.begin(tx, tokens.session_id(token), stored.name, stored.credential)
    log.info("web.signed_in", user=stored.name)
    response = RedirectResponse(target, 303)
    tokens.put(response, token, secure=visit.site.is_secure)
    return response


def _inside(target: str) -> str:
    """The path if it is one of ours, else the first page: a link must not lead elsewhere after the login."""
    is_path = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_path else "/"


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"


PAGES = (
    Page("GET", "/", Right.SIGNED_IN, first),
    Page("GET", "/login", Right.PUBLIC, show_login),
    Page("POST", "/login", Right.PUBLIC, login),
    Page("POST", "/logout", Right.SIGNED_IN, logout),
    Page("GET", "/static/{mark}/{name}", Right.PUBLIC, asset),
)
