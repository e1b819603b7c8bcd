"""The table of all pages, with the right that each asks for. The application has no route that is not here."""

from worker.web import account
from worker.web.console.table import CONSOLE
from worker.web.portal import companies, connect, history, mapping, push, start, suggestions

PAGES = (
    *account.PAGES,
    *start.PAGES,
    *connect.PAGES,
    *companies.PAGES,
    *mapping.PAGES,
    *suggestions.PAGES,
    *push.PAGES,
    *history.PAGES,
    *CONSOLE,
)
