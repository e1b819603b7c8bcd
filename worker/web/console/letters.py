"""Dead letters: groups by cause, and the list with its filters."""

from starlette.responses import Response

from store import dead_letter_queries
from worker.web.console import filters
from worker.web.console.filters import key_of, key_text
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Visit

ON_A_PAGE = 50


def show_list(visit: Visit) -> Response:
    """The letters that match, the newest first, page by page."""
    chosen = filters.read(visit.asked)
    before = key_of(visit.asked("before"))
    with visit.site.database.begin() as tx:
        found, count = dead_letter_queries.page(tx, chosen.letters, ON_A_PAGE + 1, before)
        choices = dead_letter_queries.choices(tx, chosen.letters.state)
    shown, more = found[:ON_A_PAGE], found[ON_A_PAGE:]
    return visit.page(
        "console/letters.html",
        chosen=chosen,
        letters=shown,
        count=count,
        choices=choices,
        is_first=before is None,
        next_key=key_text(shown[-1].last_failed_at, shown[-1].id) if more else None,
    )


def show_groups(visit: Visit) -> Response:
    """The letters that match, by cause, the most frequent first."""
    chosen = filters.read(visit.asked)
    with visit.site.database.begin() as tx:
        found = dead_letter_queries.groups(tx, chosen.letters)
        choices = dead_letter_queries.choices(tx, chosen.letters.state)
    return visit.page(
        "console/groups.html", chosen=chosen, groups=found, count=sum(group.count for group in found), choices=choices
    )


PAGES = (
    Page("GET", "/console/letters", Right.READ, show_list),
    Page("GET", "/console/letters/groups", Right.READ, show_groups),
)
