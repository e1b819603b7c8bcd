"""The pages of the console, with the right that each asks for."""

from worker.web.console import actions, letter, letters, now, operations, partners

CONSOLE = (*now.PAGES, *letters.PAGES, *letter.PAGES, *actions.PAGES, *operations.PAGES, *partners.PAGES)
