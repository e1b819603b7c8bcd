"""The ConnectWise client against a scripted HTTP server on loopback."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from cwclient import (
    AddressPolicy,
    BadCredentials,
    ClientIdRefused,
    ConnectWise,
    ConnectWiseError,
    Credentials,
    QuantityNotKept,
    ServerTrouble,
    Unreachable,
    WrongRoute,
)
from cwclient.transport import Transport

KEY = "priv-k3y"
TOKEN = "YWNtZStwdWI6cHJpdi1rM3k="  # "acme+pub:priv-k3y"
ADDITION = {"id": 5, "agreementId": 7, "quantity": 4.0, "product": {"id": 1, "identifier": "PHIN"}}


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """Replies, one per request, and the requests that came."""

    url: str = ""
    replies: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def reply(self, body: object, status: int = 200, **headers: str) -> None:
        """Queue a reply; what is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.replies.append((status, headers, data))


@pytest.fixture
def server() -> Iterator[Script]:
    """Run a server of scripted replies."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        wbufsize = -1  # one packet per answer

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen = Seen(self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), body)
            script.seen.append(seen)
            status, headers, data = script.replies.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{http.server_port}"
    yield script
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Make a transport that may speak to loopback."""
    transport = Transport(AddressPolicy(["127.0.0.1"]))
    yield transport
    transport.close()


@pytest.fixture
def client(server: Script, transport: Transport) -> ConnectWise:
    """Make a client of the scripted server."""
    credentials = Credentials("acme", "pub", KEY)
    return ConnectWise(f"{server.url}/v2025_1/apis/3.0/", credentials, "our-client-id", transport)


def test_a_call_carries_the_headers_that_connectwise_wants(server: Script, client: ConnectWise) -> None:
    """ConnectWise gets our clientId, the tenant's keys and the version that the code was written for."""
    server.reply(ADDITION)
    addition = client.addition(7, 5)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "/v2025_1/apis/3.0/finance/agreements/7/additions/5")
    assert seen.headers["Authorization"] == f"Basic {TOKEN}"
    assert seen.headers["clientId"] == "our-client-id"
    assert seen.headers["Accept"] == "application/vnd.connectwise.com+json; version=2025.8"
    assert (addition.quantity, addition.agreement_id, addition.product.identifier) == (4, 7, "PHIN")


@pytest.mark.parametrize(("wanted", "sent"), [(42, "42"), (42.0, "42"), (0, "0"), (1.5, "1.5")])
@pytest.mark.parametrize("form", [float, str])
def test_set_quantity_replaces_the_quantity_and_nothing_else(
    wanted: float, sent: str, form: type, server: Script, client: ConnectWise
) -> None:
    """Exactly one PATCH with exactly one operation goes out, and what comes back is compared as a number."""
    server.reply({**ADDITION, "quantity": form(wanted)})
    assert client.set_quantity(7, 5, wanted).quantity == wanted
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("PATCH", "/v2025_1/apis/3.0/finance/agreements/7/additions/5")
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.body.decode() == f'[{{"op": "replace", "path": "quantity", "value": {sent}}}]'


@pytest.mark.parametrize("got", [4, None, 42.5])
def test_a_quantity_that_did_not_stick_is_noticed(got: object, server: Script, client: ConnectWise) -> None:
    """A 200 that changed nothing is not reported as success."""
    server.reply({**ADDITION, "quantity": got})
    with pytest.raises(QuantityNotKept) as caught:
        client.set_quantity(7, 5, 42)
    assert (caught.value.wanted, caught.value.got) == (42, got)


@pytest.mark.parametrize("quantity", [-1, float("nan"), float("inf")])
def test_a_senseless_quantity_is_never_sent(quantity: float, server: Script, client: ConnectWise) -> None:
    """No negative quantity is sent, as nobody knows what ConnectWise does with it."""
    with pytest.raises(ValueError, match="no quantity"):
        client.set_quantity(7, 5, quantity)
    assert not server.seen


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"ok"', b"42", b'{"quantity": 42}', b'{"id": 6, "quantity": 42}',
     b'{"id": 5, "quantity": NaN}', b'{"id": 5, "quantity": 1e999}', b'{"id": 5, "quantity": true}', b"[" * 100_000,
     b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_2xx_that_cannot_be_used_leaves_a_write_uncertain(body: bytes, server: Script, client: ConnectWise) -> None:
    """A write whose answer is broken, of another shape or of another record is neither done nor failed."""
    server.reply(body)
    with pytest.raises(ServerTrouble) as caught:
        client.set_quantity(7, 5, 42)
    assert caught.value.sent
    assert len(server.seen) == 1


def test_an_html_page_with_200_is_unreachable(server: Script, client: ConnectWise) -> None:
    """A captive portal or a maintenance page is not mistaken for ConnectWise."""
    server.reply(b"<html>Maintenance</html>")
    with pytest.raises(Unreachable):
        client.company(1)


def test_errors_come_out_by_remedy(server: Script, client: ConnectWise) -> None:
    """Every method raises the class that says what to do."""
    calls: list[tuple[type[ConnectWiseError], int, object, Callable[[], object]]] = [
        (BadCredentials, 401, {"code": "Unauthorized"}, client.count_companies),
        (ClientIdRefused, 403, {"message": "clientId"}, client.count_agreements),
        (WrongRoute, 400, b"Cannot route. Codebase/company is invalid", lambda: list(client.companies())),
        (Unreachable, 503, b"", lambda: client.agreement(7)),
    ]
    for kind, status, body, call in calls:
        server.reply(body, status)
        with pytest.raises(kind):
            call()


def test_the_private_key_is_in_no_text(server: Script, client: ConnectWise) -> None:
    """Neither repr nor an error of a server that repeats our headers shows the private key."""
    assert KEY not in repr(Credentials("acme", "pub", KEY))
    server.reply({"code": KEY, "message": f"Basic {TOKEN} is {KEY}", "errors": [{"field": KEY, "message": TOKEN}]}, 400)
    with pytest.raises(ConnectWiseError) as caught:
        client.company(1)
    everything = f"{caught.value!r} {vars(caught.value)}"
    assert KEY not in everything
    assert TOKEN not in everything


def test_counts_and_single_records(server: Script, client: ConnectWise) -> None:
    """The two counts that prove the rights, and the records behind a mapping, are read by one call each."""
    server.reply({"count": 3})
    server.reply({"count": 0})
    server.reply({"id": 250, "identifier": "acme", "name": "Acme", "deletedFlag": False})
    server.reply({"id": 7, "name": "MSP", "company": {"id": 250}, "agreementStatus": "Active"})
    assert (client.count_companies(), client.count_agreements()) == (3, 0)
    assert client.company(250).name == "Acme"
    assert client.agreement(7).company.id == 250
    root = "/v2025_1/apis/3.0"
    assert [s.path for s in server.seen] == [
        f"{root}/company/companies/count", f"{root}/finance/agreements/count",
        f"{root}/company/companies/250", f"{root}/finance/agreements/7",
    ]  # fmt: skip


def test_lists_follow_link_headers_and_drop_repeats(server: Script, client: ConnectWise) -> None:
    """A list that changes while it is read is neither cut short nor doubled."""
    following = f"{server.url}/v2025_1/apis/3.0/company/companies?page=2&x=a,b"
    link = f'<{following}>; rel="next", <{server.url}/last>; rel="last"'
    server.reply([{"id": 1}, {"id": 2}], Link=link)
    server.reply([{"id": 2}, {"id": 3}], Link=f'<{server.url}/>; rel="first"')
    assert [c.id for c in client.companies("deletedFlag=false", page_size=2)] == [1, 2, 3]
    fields = {"fields": ["id,identifier,name,deletedFlag"]}
    assert server.seen[0].query == {"orderBy": ["id"], "pageSize": ["2"], "conditions": ["deletedFlag=false"]} | fields
    assert server.seen[1].query == {"page": ["2"], "x": ["a,b"]}


def test_agreements_and_additions_are_listed(server: Script, client: ConnectWise) -> None:
    """The drop-downs get the agreements of some companies, and the additions of one agreement."""
    server.reply([{"id": 7}])
    server.reply([ADDITION])
    assert [a.id for a in client.agreements(250, 240)] == [7]
    assert [a.quantity for a in client.additions(7)] == [4]
    assert server.seen[0].query["conditions"] == ["company/id in (240,250)"]
    assert (server.seen[1].path, server.seen[1].query["pageSize"]) == (
        "/v2025_1/apis/3.0/finance/agreements/7/additions", ["1000"],
    )  # fmt: skip


def test_a_list_is_left_between_pages(server: Script, client: ConnectWise) -> None:
    """A caller who has to wait or to stop is asked before each further page, and no request is made after that."""
    server.reply([{"id": 1}], Link=f'<{server.url}/v2025_1/apis/3.0/company/companies?page=2>; rel="next"')

    def stop() -> None:
        raise InterruptedError

    found = client.companies(before_next=stop)
    assert next(found).id == 1
    with pytest.raises(InterruptedError):
        next(found)
    assert len(server.seen) == 1


@pytest.mark.parametrize("page", [{"id": 1}, None, [1], [{"id": None}]])
def test_a_page_of_another_shape_is_server_trouble(page: object, server: Script, client: ConnectWise) -> None:
    """A broken page is an error, never a list that is silently short."""
    server.reply(page)
    with pytest.raises(ServerTrouble):
        list(client.companies())


def test_page_size_has_the_documented_limit(client: ConnectWise) -> None:
    """A page size that ConnectWise would cap silently is refused at once."""
    for size in (0, 1001):
        with pytest.raises(ValueError, match="1 to 1000"):
            client.companies(page_size=size)
