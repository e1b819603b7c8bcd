"""Lists whose links a proxy has changed or dropped, and lists that end too early."""

import json
import socket
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from cwclient import ConnectWise, Credentials, ServerTrouble
from cwclient.transport import Transport
from tests.support.raw_server import Server, reply

Start = Callable[..., Server]
Connect = Callable[..., Transport]
COMPANIES = 60


def _listed(
    start: Start, connect: Connect, link: Callable[[str, int, int], str], *, size: int = 10, cap: int = 1000
) -> tuple[list[int], list[str]]:
    """The ids that a client reads of 60 companies in pages of `size`, and the queries that it asks for.

    `link` makes the header of a page from the query, the page's number and the last one's; "" sends none. `cap` is the
    size of a page that the server does not go beyond.
    """
    queries: list[str] = []

    def talk(server: Server, connection: socket.socket) -> None:
        while True:
            queries.append(urlsplit(server.read(connection).split()[1].decode()).query)
            asked = {name: values[0] for name, values in parse_qs(queries[-1]).items()}
            page, length = int(asked.get("page", "1")), min(int(asked.get("pageSize", "25")), cap)
            ids = list(range(1, COMPANIES + 1))[(page - 1) * length : page * length]
            said = link(queries[-1], page, -(-COMPANIES // length))
            body = json.dumps([{"id": number} for number in ids]).encode()
            connection.sendall(reply(body, Link=said) if said else reply(body))

    client = ConnectWise(start(talk).url.removesuffix("/x"), Credentials("a", "b", "c"), "id", connect())
    return [company.id for company in client.companies("deletedFlag=false", page_size=size)], queries


def _next(origin: str) -> Callable[[str, int, int], str]:
    def link(query: str, page: int, last: int) -> str:
        kept = query.partition("&page=")[0]
        return f'<{origin}?{kept}&page={page + 1}>; rel="next"' if page < last else ""

    return link


@pytest.mark.parametrize(
    "origin",
    ["http://cw.msp.example/v4_6_release/apis/3.0/company/companies", "https://10.0.0.7:8443/internal/company",
     "/company/companies", "", "//elsewhere.example/x"],
)  # fmt: skip
def test_a_reverse_proxy_does_not_hide_the_next_page(origin: str, start: Start, connect: Connect) -> None:
    """An on-premise server that links to its inner name or scheme has a whole catalogue, with the conditions kept."""
    ids, queries = _listed(start, connect, _next(origin))
    assert ids == list(range(1, COMPANIES + 1))
    assert all("conditions=deletedFlag%3Dfalse" in query for query in queries)


@pytest.mark.parametrize(
    "relation", ["rel=next", 'rel="prev next"', 'title="a"; rel="next"', "REL=NEXT", 'rel = "next"']
)
def test_a_next_page_is_found_however_the_link_is_written(relation: str, start: Start, connect: Connect) -> None:
    """All forms of RFC 8288 are read; a relation that only begins alike is none."""

    def link(query: str, page: int, last: int) -> str:
        first = '<?page=9>; rel="next-archive", <?page=1>; rel="first"'
        return f"{first}, <?pageSize=10&page={page + 1}>; {relation}" if page < last else first

    ids, queries = _listed(start, connect, link)
    assert (ids, len(queries)) == (list(range(1, COMPANIES + 1)), 6)


@pytest.mark.parametrize(("size", "cap", "asked"), [(10, 1000, 7), (60, 1000, 2), (1000, 30, 3), (1000, 1000, 2)])
def test_a_list_whose_links_are_dropped_is_read_to_its_end(
    size: int, cap: int, asked: int, start: Start, connect: Connect
) -> None:
    """A proxy that drops the Link header cuts no list short: a page past the end is empty (connectwise-api.md 4.4)."""
    ids, queries = _listed(start, connect, lambda *_: "", size=size, cap=cap)
    assert (ids, len(queries)) == (list(range(1, COMPANIES + 1)), asked)


def test_a_link_that_forgets_the_next_page_is_not_believed(start: Start, connect: Connect) -> None:
    """As long as the last page that is linked to has not come, the list goes on."""
    ids, queries = _listed(start, connect, lambda _query, _page, last: f'<?page={last}>; rel="last"')
    assert (ids, len(queries)) == (list(range(1, COMPANIES + 1)), 6)


@pytest.mark.parametrize("last", ["?page=99999999999999999999", "?pageId=500", "?page=", "/companies/last"])
def test_a_last_page_that_cannot_be_read_ends_no_list(last: str, start: Start, connect: Connect) -> None:
    """A proxy that rewrites the query of the link to the last page cuts no list short."""
    ids, queries = _listed(start, connect, lambda *_: f'<{last}>; rel="last"')
    assert (ids, len(queries)) == (list(range(1, COMPANIES + 1)), 7)


def test_a_list_that_has_come_to_its_end_costs_no_further_request(start: Start, connect: Connect) -> None:
    """A last page that is full, and says that it is the last, is believed."""
    _, queries = _listed(start, connect, lambda *_: '<?page=1>; rel="first", <?page=1>; rel="last"', size=60)
    assert len(queries) == 1


@pytest.mark.parametrize(
    "links",
    [
        ['<?page=2>; rel="next"', '<?page=3>; rel="next"'],
        ['<?page=2>; rel="next", <?page=5>; rel="last"', '<?page=1>; rel="prev"'],
    ],
    ids=["empty, with a next", "empty, before the last"],
)
def test_a_list_that_breaks_off_is_an_error(links: list[str], start: Start, connect: Connect) -> None:
    """An empty page in the middle is not taken for the end, so no company is missing without a word."""

    def talk(server: Server, connection: socket.socket) -> None:
        for body, link in zip((b'[{"id": 1}]', b"[]"), links, strict=True):
            server.read(connection)
            connection.sendall(reply(body, Link=link))

    client = ConnectWise(start(talk).url.removesuffix("/x"), Credentials("a", "b", "c"), "id", connect())
    with pytest.raises(ServerTrouble, match="breaks off"):
        list(client.companies())


@pytest.mark.parametrize("link", ["", "<?page=2>; rel=next"])
def test_a_server_that_ignores_the_page_is_an_error(link: str, start: Start, connect: Connect) -> None:
    """A proxy that drops the query gives the first page again and again: that is no list of a few."""
    body = json.dumps([{"id": number} for number in range(1, 26)]).encode()

    def talk(server: Server, connection: socket.socket) -> None:
        while True:
            server.read(connection)
            connection.sendall(reply(body, Link=link) if link else reply(body))

    client = ConnectWise(start(talk).url.removesuffix("/x"), Credentials("a", "b", "c"), "id", connect())
    with pytest.raises(ServerTrouble, match="repeats"):
        list(client.companies())
