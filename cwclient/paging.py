"""Lists, page by page: where the next page is, and whether a list that ends is complete (connectwise-api.md 4.4).

The `Link` header is the server's word for both, and a proxy in front of it may change or drop it. So only its query is
used, never its origin or path, and without it a list is asked on until it certainly is over.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import parse_qs, quote, urlencode

from cwclient.errors import ServerTrouble
from cwclient.models import Record, read

#: Given if no size is asked for. No page is cut to fewer, so one that has fewer is the last.
DEFAULT_PAGE_SIZE = 25
MAX_PAGE_SIZE = 1000
#: A million records: more is a server that never says "last page".
MAX_PAGES = 1000

R = TypeVar("R", bound=Record)
Ask = Callable[[str], tuple[object, Mapping[str, str]]]
"""URL → the JSON of its answer, and the answer's headers, their names in lower case."""

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def records(
    model: type[R], url: str, query: Mapping[str, str], *, ask: Ask, before_next: Callable[[], object]
) -> Iterator[R]:
    """Yield the records of all pages of the list at `url`, each once: one that changes meanwhile may repeat some.

    `query` has `pageSize`; `before_next` is called before the request of each page but the first. Raises ServerTrouble
    for what is no list, and for one that repeats itself, breaks off, or does not end.
    """
    text, seen, last, is_promised = encoded(query), set[int](), 1, False
    for number in range(1, MAX_PAGES + 1):
        if number > 1:
            before_next()
        page, headers = ask(f"{url}?{text}")
        if not isinstance(page, list):
            raise ServerTrouble("ConnectWise answered with something that is no list.", sent=True, status=200)
        known = len(seen)
        for record in (read(model, value) for value in page):
            if record.id not in seen:
                seen.add(record.id)
                yield record
        links = _links(headers.get("link", ""))
        page_of_last = _page_of(links.get("last", ""))
        last = max(last, page_of_last)
        if not page and ("next" in links or (is_promised and number < last)):
            raise ServerTrouble(
                f"The list breaks off: page {number} is empty, and not the last.", sent=True, status=200
            )
        is_promised = "next" in links
        # A last page that cannot be read says that there is one, but not which.
        is_unclear = not links or ("last" in links and not page_of_last)
        without_word = is_unclear and len(page) >= min(DEFAULT_PAGE_SIZE, int(query["pageSize"]))
        if not page or not (is_promised or number < last or without_word):
            return
        if len(seen) == known:
            raise ServerTrouble("The list repeats the same records without end.", sent=True, status=200)
        text = links.get("next") or encoded({**query, "page": str(number + 1)})
    raise ServerTrouble(f"The list did not end after {MAX_PAGES} pages.", sent=True, status=200)


def encoded(query: Mapping[str, str]) -> str:
    """The query as it stands in a URL: each value is encoded as a whole (connectwise-api.md 4.3)."""
    return urlencode(query, quote_via=quote, safe="")


def _links(header: str) -> dict[str, str]:
    """Relation (`next`, `last` …) → the query of its URL, from a `Link` header (RFC 8288)."""
    found: dict[str, str] = {}
    for target, parameters in _LINK.findall(header):
        relation = _RELATION.search(parameters)
        for name in (relation[1] or relation[2] or "").lower().split() if relation else ():
            found.setdefault(name, target.partition("?")[2].partition("#")[0])
    return {name: text for name, text in found.items() if name in {"first", "prev", "next", "last"}}


def _page_of(query: str) -> int:
    """The page that the query of a link asks for; 0 if it does not say, or nonsense."""
    number = parse_qs(query[:2000]).get("page", [""])[0]
    return int(number) if re.fullmatch("[0-9]{1,6}", number, re.ASCII) else 0
