"""The simulator's state: terse documents, clear errors, and a world that changes while it runs."""

import concurrent.futures
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from cwclient.simulator import SimulatorServer, State, StateDocument

TENANT: dict[str, Any] = {
    "company_identifier": "acmemsp",
    "keys": [{"public": "pub", "private": "topsecret"}],
    "companies": [{"id": 250, "name": "Initech & Söhne"}],
    "agreements": [{"id": 7, "company": {"id": 250}}],
    "additions": [{"id": 11, "agreementId": 7, "product": {"identifier": "PHIN"}, "quantity": 4, "unitPrice": 2}],
}
STATE: dict[str, Any] = {"tenants": [TENANT]}
ADDITION = "/v2025_1/apis/3.0/finance/agreements/7/additions/11"


def state(**changes: object) -> State:
    """Make a state of the tenant above, changed."""
    return State(StateDocument.model_validate({"tenants": [TENANT | changes]}))


def client(server: SimulatorServer) -> httpx.Client:
    """Connect as the tenant above."""
    headers = {"clientId": "id"}
    return httpx.Client(base_url=server.url, auth=("acmemsp+pub", "topsecret"), headers=headers, trust_env=False)


def test_terse_records_become_whole() -> None:
    """A record that names only what matters gets ConnectWise's other fields, the derived ones computed."""
    tenant = state().tenant("acmemsp")
    assert tenant.companies[250]["identifier"] == "InitechSöhne"
    assert tenant.agreements[7]["company"] == {"id": 250, "identifier": "InitechSöhne", "name": "Initech & Söhne"}
    addition = tenant.additions[11]
    assert (addition["extPrice"], addition["agreementStatus"], addition["additionStatus"]) == (8, "Active", "Active")
    assert "cancelledDate" not in addition


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"companies": [{"name": "no id"}]}, r"companies\.0\n.*Company\.id is missing"),
        ({"companies": [{"id": "250"}]}, "expected integer"),
        ({"additions": [{"id": 1, "agreementId": 7, "quantty": 4}]}, "Addition has no field 'quantty'"),
        ({"additions": [{"id": 1, "agreementId": 7, "quantity": "4"}]}, r"Addition\.quantity: expected number"),
        ({"additions": [{"id": 1, "agreementId": 7, "billCustomer": "Free"}]}, r"expected Billable \| DoNotBill"),
        ({"additions": [{"id": 1, "agreementId": 7, "cancelledDate": "soon"}]}, "'soon' is not a date"),
        ({"additions": [{"id": 1, "agreementId": 99}]}, "addition 1 names agreement 99, which is not there"),
        ({"agreements": [{"id": 7}]}, "agreement 7 names company None"),
        ({"agreements": [{"id": 7, "company": {"id": 250, "colour": 1}}]}, r"Agreement\.company has no field 'colour'"),
        ({"codebase": "v2025_1"}, "codebase"),
        ({"color": "red"}, "color"),
        ({"keys": [{"public": "p", "private": "q", "rights": {"agreements_edit": "some"}}]}, "agreements_edit"),
    ],
)
def test_a_bad_document_says_what_is_wrong(changes: dict[str, object], message: str) -> None:
    """A typo in a state document is refused, naming the place."""
    with pytest.raises(ValueError, match=message):
        state(**changes)


def test_the_world_changes_mid_run() -> None:
    """Cancelling, expiring, upgrading and changing a quantity are seen by the next request."""
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        server.state.set_quantity("acmemsp", 11, 9)
        reply = http.get(ADDITION).json()
        assert (reply["quantity"], reply["extPrice"], reply["_info"]["updatedBy"]) == (9, 18, "admin")
        server.state.cancel_addition("acmemsp", 11)
        assert http.get(ADDITION).json()["additionStatus"] == "Cancelled"
        server.state.expire_agreement("acmemsp", 7)
        assert http.get(ADDITION).json()["agreementStatus"] == "Expired"
        server.state.upgrade("acmemsp", "v2025_2/")
        assert http.get(ADDITION).status_code == 400
        assert http.get(ADDITION.replace("2025_1", "2025_2")).json()["quantity"] == 9


def test_a_document_is_laid_over_the_state() -> None:
    """Another process changes, adds and revives records by a document, and nothing that it does not name."""
    change = {
        "tenants": [
            {
                "company_identifier": "acmemsp",
                "agreements": [{"id": 8, "company": {"id": 250}, "agreementStatus": "Inactive"}],
                "additions": [{"id": 11, "cancelledDate": None}, {"id": 12, "agreementId": 8}],
            }
        ]
    }
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        server.state.cancel_addition("acmemsp", 11)
        tenant = http.patch("/_simulator/state", json=change).json()["tenants"][0]
        assert [one["id"] for one in tenant["agreements"]] == [7, 8]
        assert tenant["additions"][0]["additionStatus"] == "Active"
        assert "cancelledDate" not in tenant["additions"][0]
        assert tenant["additions"][0]["quantity"] == 4
        assert tenant["additions"][1]["agreementStatus"] == "Inactive"
        assert http.get(ADDITION).status_code == 200


def test_a_bad_change_is_refused_whole() -> None:
    """A change that names an unknown parent answers 400 and changes nothing."""
    bad = {"tenants": [TENANT | {"codebase": "v2030_1/"}, {"company_identifier": "b", "agreements": [{"id": 1}]}]}
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        reply = http.patch("/_simulator/state", json=bad)
        assert (reply.status_code, reply.json()["error"]) == (
            400,
            "tenant b: agreement 1 names company None, which is not there",
        )
        assert server.state.tenant("acmemsp").settings.codebase == "v2025_1/"
        assert server.state.find("b") is None


def test_records_are_deleted() -> None:
    """A deleted addition is a 404, and with a company go its agreements."""
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        assert http.delete("/_simulator/state/acmemsp/additions/11").status_code == 204
        assert http.get(ADDITION).status_code == 404
        assert http.delete("/_simulator/state/acmemsp/additions/11").status_code == 404
        assert http.delete("/_simulator/state/acmemsp/colours/11").status_code == 404
        server.state.remove("acmemsp", "companies", 250)
        assert server.state.tenant("acmemsp").agreements == {}


def test_private_keys_stay_inside() -> None:
    """Neither the state, the log nor a refusal shows a private key."""
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        http.patch(ADDITION, json=[{"op": "replace", "path": "quantity", "value": 5}])
        shown = http.get("/_simulator/state").text + http.get("/_simulator/log").text
        broken = {"tenants": [{"keys": [{"public": 1, "private": "topsecret"}]}]}
        shown += http.patch("/_simulator/state", json=broken).text
        assert "topsecret" not in shown


def test_the_log_is_read_from_where_one_left_off() -> None:
    """Each request leaves one record, `since` skips those already seen, and DELETE forgets them."""
    with SimulatorServer(STATE, tls=False) as server, client(server) as http:
        http.get("/login/companyinfo/acmemsp")
        http.get(ADDITION, params={"fields": "id,quantity"})
        operations = [{"op": "replace", "path": "quantity", "value": 5}]
        http.patch(ADDITION, json=operations)
        records = http.get("/_simulator/log", params={"since": 1}).json()
        assert records == server.log[1:]
        assert [one["query"] for one in records] == ["fields=id,quantity", ""]
        assert {name: records[1][name] for name in records[1] if name != "time"} == {
            "tenant": "acmemsp",
            "method": "PATCH",
            "path": ADDITION,
            "query": "",
            "status": 200,
            "fault": None,
            "quantity_before": 4,
            "quantity_after": 5,
            "body": operations,
        }
        assert http.get("/_simulator/log", params={"since": "x"}).status_code == 400
        http.delete("/_simulator/log")
        assert server.log == []


def test_concurrent_changes_all_count() -> None:
    """Many clients at once each change their own addition, and none is lost."""
    additions = [{"id": number, "agreementId": 7} for number in range(1, 201)]
    with SimulatorServer({"tenants": [TENANT | {"additions": additions}]}, tls=False) as server, client(server) as http:

        def write(number: int) -> int:
            body = json.dumps([{"op": "replace", "path": "quantity", "value": number * 10}])
            path = f"/v2025_1/apis/3.0/finance/agreements/7/additions/{number}"
            return http.patch(path, content=body, headers={"Content-Type": "application/json"}).status_code

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert set(pool.map(write, range(1, 201))) == {200}
        assert [server.state.quantity("acmemsp", number) for number in (1, 200)] == [10, 2000]
        assert len({record["path"] for record in server.log}) == 200


def test_a_settings_typo_is_refused() -> None:
    """A setting that does not exist is refused rather than ignored."""
    with pytest.raises(ValidationError, match="closed_recrods"):
        StateDocument.model_validate({"closed_recrods": "accept"})
