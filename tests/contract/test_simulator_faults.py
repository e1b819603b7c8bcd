"""The simulator's faults hit the requests they should, and look to a client as they would from a real server."""

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from cwclient.simulator import SimulatorServer, faults
from tests.support.waiting import wait_for, within

STATE: dict[str, Any] = {
    "tenants": [
        {
            "company_identifier": name,
            "keys": [{"public": "pub", "private": "priv"}],
            "companies": [{"id": 1}],
            "agreements": [{"id": 7, "company": {"id": 1}}],
            "additions": [{"id": 11, "agreementId": 7, "quantity": 4}],
        }
        for name in ("acmemsp", "other")
    ]
}
ADDITION = "/v2025_1/apis/3.0/finance/agreements/7/additions/11"
PATCH = faults.Match(method="PATCH")
IMPATIENT = httpx.Timeout(within(10), read=0.1)


@pytest.fixture(scope="module", params=[True, False], ids=["https", "http"])
def served(request: pytest.FixtureRequest) -> Iterator[SimulatorServer]:
    """Serve the state above, with and without TLS: a connection is closed in another way under it."""
    with SimulatorServer(STATE, tls=request.param) as server:
        yield server


@pytest.fixture
def simulator(served: SimulatorServer) -> SimulatorServer:
    """Switch off all faults and put the quantity back."""
    served.faults.clear()
    served.state.set_quantity("acmemsp", 11, 4)
    return served


@pytest.fixture
def http(simulator: SimulatorServer) -> Iterator[httpx.Client]:
    """Connect as the tenant acmemsp."""
    with client(simulator) as made:
        yield made


def client(simulator: SimulatorServer, tenant: str = "acmemsp") -> httpx.Client:
    """Make a client of a tenant."""
    verify = ssl.create_default_context(cafile=simulator.ca_file) if simulator.ca_file else False
    return httpx.Client(
        base_url=simulator.url,
        auth=(f"{tenant}+pub", "priv"),
        headers={"clientId": "id"},
        verify=verify,
        trust_env=False,
        timeout=within(10),
    )


def patch(http: httpx.Client, quantity: float = 42) -> httpx.Response:
    """Set the quantity."""
    return http.patch(ADDITION, json=[{"op": "replace", "path": "quantity", "value": quantity}])


def read_to_end(descriptor: int) -> None:
    """Read a socket beneath any TLS until its peer closes it."""
    while os.read(descriptor, 65536):
        pass


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (faults.Status(status=503), 503, "A timeout has occured"),
        (faults.Status(status=404), 404, "NotFound"),
        (faults.Status(status=401), 401, "Unauthorized"),
        (
            faults.Status(status=400),
            400,
            "addition object is invalid",
        ),
        (faults.Status(status=429, retry_after=7), 429, "in 7 seconds"),
        (faults.Html(status=502), 502, "<html>"),
        (faults.Answer(status=451, body="not here"), 451, "not here"),
        (faults.MissingRight(), 403, "security permission"),
        (faults.MissingClientId(), 403, "clientId"),
        (faults.Redirect(location="http://elsewhere.example/"), 302, ""),
    ],
)
def test_error_replies_apply_nothing(
    simulator: SimulatorServer, http: httpx.Client, fault: faults.Fault, status: int, part: str
) -> None:
    """A fault that answers in place of ConnectWise changes no quantity, and is in the log by its kind."""
    simulator.faults.add(fault)
    reply = patch(http)
    assert reply.status_code == status
    assert part in reply.text
    assert reply.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert reply.headers.get("Location") == ("http://elsewhere.example/" if status == 302 else None)
    assert simulator.state.quantity("acmemsp", 11) == 4
    assert (simulator.log[-1]["fault"], simulator.log[-1]["status"]) == (fault.kind, status)


def test_a_refused_object_names_what_is_wrong(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A 400 has the shape of connectwise-api.md 3.1, its entries those of ValidationError."""
    simulator.faults.add(faults.Status(status=400))
    body = patch(http).json()
    (entry,) = body.pop("errors")
    assert body == {"code": "InvalidObject", "message": "addition object is invalid"}
    assert entry == {
        "code": "InvalidQuantity",
        "message": "The quantity cannot be changed.",
        "resource": "addition",
        "field": "quantity",
    }


def test_retry_after_may_be_a_date(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A 429 says until when to wait in either form that HTTP has."""
    simulator.faults.add(faults.Status(status=429, retry_after=600, as_date=True))
    before = datetime.now(UTC).replace(microsecond=0)
    header = http.get(ADDITION).headers["Retry-After"]
    assert header.endswith(" GMT")
    assert before <= parsedate_to_datetime(header) - timedelta(seconds=600) <= datetime.now(UTC)


def test_a_reset_applies_nothing(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The client sees its connection break without a response, and the quantity is as it was."""
    simulator.faults.add(faults.Reset(match=PATCH, times=1))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        patch(http)
    assert simulator.state.quantity("acmemsp", 11) == 4
    assert patch(http).json()["quantity"] == 42


def test_a_reset_is_one_of_tcp(simulator: SimulatorServer) -> None:
    """The connection is reset, not closed, also under TLS, where some clients cannot tell these apart."""
    simulator.faults.add(faults.Reset())
    connection = socket.create_connection(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
    if simulator.ca_file:
        trust = ssl.create_default_context(cafile=simulator.ca_file)
        connection = trust.wrap_socket(connection, server_hostname="127.0.0.1")
    with connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: simulator\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            read_to_end(connection.fileno())


def test_a_lost_response_applied_the_change(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The client sees its connection close without a response, yet the quantity was set, as the log says."""
    simulator.faults.add(faults.LostResponse(match=PATCH, times=1))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        patch(http)
    assert simulator.state.quantity("acmemsp", 11) == 42
    record = simulator.log[-1]
    assert (record["status"], record["quantity_before"], record["quantity_after"]) == (None, 4, 42)


@pytest.mark.parametrize("applied", [True, False])
def test_a_hanging_request_ends_with_the_client(
    simulator: SimulatorServer,
    http: httpx.Client,
    applied: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """A request hangs until the client gives up, applied or not as the fault says, and the server lives on."""
    simulator.faults.add(faults.Hang(match=PATCH, times=1, applied=applied))
    with pytest.raises(httpx.ReadTimeout):
        http.patch(ADDITION, json=[{"op": "replace", "path": "quantity", "value": 42}], timeout=IMPATIENT)
    wait_for(lambda: simulator.state.quantity("acmemsp", 11) == (42 if applied else 4), "the quantity")
    assert http.get(ADDITION).status_code == 200


def test_a_slow_server_applies_what_the_client_gave_up(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A request that waits is applied late even though its client has gone."""
    simulator.faults.add(faults.Latency(match=PATCH, seconds=0.4))
    with pytest.raises(httpx.ReadTimeout):
        http.patch(ADDITION, json=[{"op": "replace", "path": "quantity", "value": 42}], timeout=IMPATIENT)
    wait_for(lambda: simulator.state.quantity("acmemsp", 11) == 42, "the late write")


def test_a_value_that_is_not_kept(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The PATCH answers 200 with the old quantity, and the state has it too."""
    simulator.faults.add(faults.NotKept())
    reply = patch(http)
    assert (reply.status_code, reply.json()["quantity"]) == (200, 4)
    assert simulator.state.quantity("acmemsp", 11) == 4


def test_a_read_that_lags(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The PATCH answers 200 with the old quantity, and the state has the new one."""
    simulator.faults.add(faults.LaggingRead())
    reply = patch(http)
    assert (reply.status_code, reply.json()["quantity"]) == (200, 4)
    assert simulator.state.quantity("acmemsp", 11) == 42


def test_broken_json(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A 200 arrives whole, but its body is no JSON, and the change was applied."""
    simulator.faults.add(faults.BrokenJson())
    reply = patch(http)
    assert reply.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        reply.json()
    assert simulator.state.quantity("acmemsp", 11) == 42


def test_a_slow_drip_is_slower_than_any_read_timeout(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The body comes byte by byte, so a read timeout never strikes though the whole takes long."""
    simulator.faults.add(faults.SlowDrip(seconds=0.001))
    with http.stream("GET", ADDITION, timeout=within(5)) as reply:
        chunks = list(reply.iter_raw(chunk_size=None))
    assert len(chunks) > 10
    assert b"".join(chunks).startswith(b'{"id":11')


def test_a_huge_body_is_valid_json(simulator: SimulatorServer, http: httpx.Client) -> None:
    """The body has the size asked for and still is the record."""
    simulator.faults.add(faults.HugeBody(size=1_000_000))
    reply = http.get(ADDITION)
    assert len(reply.content) == 1_000_000
    assert reply.json()["id"] == 11


def test_an_endless_body_ends_with_the_client(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A client that stops reading frees the server, which goes on answering others."""
    simulator.faults.add(faults.EndlessBody(times=1))
    with http.stream("GET", ADDITION) as reply:
        received = 0
        for chunk in reply.iter_raw():
            received += len(chunk)
            if received > 500_000:
                break
    assert http.get(ADDITION).json()["id"] == 11


def test_a_fault_hits_only_what_it_matches(simulator: SimulatorServer, http: httpx.Client) -> None:
    """Method, path and tenant select, `times` ends a fault, and the first that matches decides."""
    match = faults.Match(method="GET", path=r"/additions/\d+$", tenant="acmemsp")
    simulator.faults.set([faults.Status(match=match, status=500, times=2), faults.Status(match=match, status=503)])
    assert http.get("/v2025_1/apis/3.0/company/companies").status_code == 200
    assert patch(http).status_code == 200
    with client(simulator, "other") as other:
        assert other.get(ADDITION).status_code == 200
    assert [http.get(ADDITION).status_code for _ in range(3)] == [500, 500, 503]
    assert [fault["status"] for fault in simulator.faults.document()] == [503]
    simulator.faults.clear()
    assert http.get(ADDITION).status_code == 200


def test_chaos_can_be_repeated(simulator: SimulatorServer, http: httpx.Client) -> None:
    """A fault with a probability hits the same requests again if it has the same seed."""
    runs = []
    for _ in range(2):
        simulator.faults.set([faults.Status(status=500, probability=0.5, seed=7)])
        runs.append([http.get(ADDITION).status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


def test_faults_are_switched_over_http(simulator: SimulatorServer, http: httpx.Client) -> None:
    """Another process switches faults on and off by their JSON, and is told what is wrong with it."""
    wanted = [{"kind": "status", "status": 503, "match": {"method": "GET", "path": "additions"}, "times": 1}]
    assert http.put("/_simulator/faults", json=wanted).json()[0]["times"] == 1
    assert [http.get(ADDITION).status_code for _ in range(2)] == [503, 200]
    for bad in ('[{"kind": "fire"}]', '[{"kind": "reset", "seconds": 1}]', '[{"match": {"path": "("}}]', "{}", "["):
        reply = http.put("/_simulator/faults", content=bad)
        assert reply.status_code == 400
        assert reply.json()["error"]
    assert http.delete("/_simulator/faults").json() == []


def test_a_fault_without_what_it_needs_is_refused() -> None:
    """A fault that names no status cannot be made."""
    with pytest.raises(ValidationError, match="status"):
        faults.FAULTS.validate_python([{"kind": "status"}])


def test_a_hanging_client_does_not_keep_the_server() -> None:
    """The block ends although a request hangs, and the port is free afterwards."""
    with SimulatorServer(STATE, tls=False) as server:
        server.faults.add(faults.Hang())
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /hang HTTP/1.1\r\nHost: simulator\r\n\r\n")
            wait_for(lambda: len(server.log) == 1, "the request in the log")
            server.__exit__()
            assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
