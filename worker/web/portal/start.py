"""The portal's first page is the one that comes next: Connect until ConnectWise is connected, then Companies."""

from starlette.responses import Response

from store import connections
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Visit


def start(visit: Visit) -> Response:
    """Lead to the page that comes next."""
    with visit.site.database.begin() as tx:
        version = connections.current(tx, visit.partner)
    works = version is not None and (version.check or {}).get("status") == "ok"
    return visit.go("/portal/companies" if works else "/portal/connect")


PAGES = (Page("GET", "/portal", Right.COORDINATE, start),)
