"""The table of all pages, with the right that each asks for. The application has no route that is not here."""

from worker.web import account
from worker.web.console import actions, letter, letters, now, operations, partners
from worker.web.portal import connect, start

PORTAL = (*start.PAGES, *connect.PAGES)
CONSOLE = (*now.PAGES, *letters.PAGES, *letter.PAGES, *actions.PAGES, *operations.PAGES, *partners.PAGES)
PAGES = (*account.PAGES, *PORTAL, *CONSOLE)
