"""The web application: the table of pages behind the guard, and headers on every answer."""

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worker.web import failures, tokens
from worker.web.guard import endpoint
from worker.web.headers import SecurityHeaders
from worker.web.pages import Page
from worker.web.site import Site
from worker.web.table import PAGES
from worker.web.visit import Visit


def application(site: Site) -> Starlette:
    """The application of these pages."""

    async def not_found(request: Request, error: Exception) -> Response:
        visit = Visit(site, request, None, tokens.fresh(), FormData())
        return failures.explain(visit, error)

    return Starlette(
        routes=[_route(site, page) for page in PAGES],
        middleware=[Middleware(SecurityHeaders, is_secure=site.is_secure)],
        exception_handlers={HTTPException: not_found},
    )


def _route(site: Site, page: Page) -> Route:
    return Route(page.path, endpoint(site, page), methods=[page.method])
