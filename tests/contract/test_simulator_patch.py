"""The simulator takes a PATCH of an addition as connectwise-api.md 6 says, and nothing else that would change one."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cwclient.simulator import SimulatorServer

STATE: dict[str, Any] = {
    "tenants": [
        {
            "company_identifier": "acmemsp",
            "keys": [{"public": "pub", "private": "priv", "member": "Phin"}],
            "companies": [{"id": 1}],
            "agreements": [{"id": 7, "company": {"id": 1}}, {"id": 9, "company": {"id": 1}, "endDate": "2025-01-31"}],
            "additions": [
                {"id": 11, "agreementId": 7, "quantity": 4, "lessIncluded": 1, "unitPrice": 2.5, "unitCost": 1},
                {"id": 12, "agreementId": 7, "cancelledDate": "2025-01-01"},
                {"id": 14, "agreementId": 9},
            ],
        },
    ]
}
BASE = "/v2025_1/apis/3.0"
ADDITION = f"{BASE}/finance/agreements/7/additions/11"


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """Serve the state above."""
    with SimulatorServer(STATE, tls=False) as server:
        yield server


@pytest.fixture
def http(simulator: SimulatorServer) -> Iterator[httpx.Client]:
    """Connect with the key above."""
    headers = {"clientId": "id"}
    with httpx.Client(base_url=simulator.url, auth=("acmemsp+pub", "priv"), headers=headers, trust_env=False) as client:
        yield client


def set_quantity(value: object) -> list[dict[str, object]]:
    """Make the body of a PATCH."""
    return [{"op": "replace", "path": "quantity", "value": value}]


def test_only_a_patch_changes_an_addition(http: httpx.Client) -> None:
    """PUT, POST and DELETE are a 405, and a PATCH that is not JSON by its Content-Type a 415."""
    assert http.put(ADDITION, json={}).status_code == 405
    assert http.delete(ADDITION).status_code == 405
    assert http.post(f"{BASE}/finance/agreements/7/additions", json={}).status_code == 405
    assert http.patch(ADDITION, content=b"[]", headers={"Content-Type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(("path", "value"), [("quantity", 12), ("/quantity", 12.0), ("quantity", "12")])
def test_patch_sets_the_quantity(http: httpx.Client, path: str, value: object) -> None:
    """The quantity is set by int, float or numeric text, and only what derives from it changes along."""
    before = http.get(ADDITION).json()
    reply = http.patch(ADDITION, json=[{"op": "replace", "path": path, "value": value}])
    assert reply.status_code == 200
    after = reply.json()
    assert http.get(ADDITION).json() == after
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed.pop("_info")["updatedBy"] == "Phin"
    assert changed == {"quantity": 12, "billedQuantity": 11, "extPrice": 27.5, "extCost": 11, "margin": 16.5}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (set_quantity(1)[0], 400),
        ([1], 400),
        ([{"op": "set", "path": "quantity", "value": 1}], 400),
        ([{"op": "replace", "path": "Quantity", "value": 1}], 400),
        ([{"op": "replace", "path": "id", "value": 1}], 400),
        ([{"op": "replace", "path": "quantity"}], 400),
        (set_quantity("many"), 500),
        (set_quantity(True), 500),
        ([*set_quantity(1), {"op": "replace", "path": "colour", "value": 1}], 400),
    ],
)
def test_a_bad_patch_changes_nothing(simulator: SimulatorServer, http: httpx.Client, body: object, status: int) -> None:
    """A bad body, operation, path or value is refused as a whole, with ConnectWise's error shape."""
    reply = http.patch(ADDITION, json=body)
    assert reply.status_code == status
    assert reply.json()["code"] == ("InvalidObject" if status == 400 else "ConnectWiseApi")
    assert simulator.state.quantity("acmemsp", 11) == 4


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "9" * 400])
def test_a_number_that_nobody_can_hold_changes_nothing(
    simulator: SimulatorServer, http: httpx.Client, number: str
) -> None:
    """No quantity becomes infinite in the simulated ConnectWise either."""
    body = f'[{{"op": "replace", "path": "quantity", "value": {number}}}]'
    reply = http.patch(ADDITION, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert simulator.state.quantity("acmemsp", 11) == 4


def test_a_part_of_a_reference_is_ignored(http: httpx.Client) -> None:
    """A PATCH of a part of a reference is a 200 that changes nothing, so comparing what came back is needed."""
    reply = http.patch(ADDITION, json=[{"op": "replace", "path": "product/identifier", "value": "X"}])
    assert (reply.status_code, reply.json()["product"]["identifier"]) == (200, "PRODUCT")


def test_closed_records_refuse_or_accept_a_patch(http: httpx.Client) -> None:
    """A cancelled addition and an expired agreement refuse a PATCH, or accept it if the state says so."""
    cancelled, expired = f"{BASE}/finance/agreements/7/additions/12", f"{BASE}/finance/agreements/9/additions/14"
    assert http.get(cancelled).json()["additionStatus"] == "Cancelled"
    assert http.get(expired).json()["agreementStatus"] == "Expired"
    for path in (cancelled, expired):
        reply = http.patch(path, json=set_quantity(9))
        assert (reply.status_code, reply.json()["code"]) == (400, "InvalidObject")
    http.patch("/_simulator/state", json={"closed_records": "accept"})
    for path in (cancelled, expired):
        assert http.patch(path, json=set_quantity(9)).json()["quantity"] == 9


def test_an_addition_under_another_agreement_is_refused_or_accepted(
    simulator: SimulatorServer, http: httpx.Client
) -> None:
    """Asked for under an agreement that is not its own an addition is a 404, or itself if the state says so."""
    elsewhere = f"{BASE}/finance/agreements/9/additions/11"
    assert (http.get(elsewhere).status_code, http.patch(elsewhere, json=set_quantity(9)).status_code) == (404, 404)
    http.patch("/_simulator/state", json={"foreign_additions": "accept"})
    assert http.get(elsewhere).json()["agreementId"] == 7
    assert http.patch(elsewhere, json=set_quantity(9)).json()["agreementStatus"] == "Active"
    assert simulator.state.quantity("acmemsp", 11) == 9
    assert [one["id"] for one in http.get(f"{BASE}/finance/agreements/9/additions").json()] == [14]
