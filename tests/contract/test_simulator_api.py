"""The simulator answers as connectwise-api.md says: discovery, access, lists and single records."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cwclient.simulator import SimulatorServer

STATE: dict[str, Any] = {
    "tenants": [
        {
            "company_identifier": "acmemsp",
            "codebase": "v2025_1/",
            "keys": [
                {"public": "pub", "private": "priv", "member": "Phin"},
                {"public": "poor", "private": "priv", "rights": {"company_maintenance_inquire": "none"}},
                {"public": "blind", "private": "priv", "rights": {"agreements_inquire": "none"}},
                {"public": "reader", "private": "priv", "rights": {"agreements_edit": "none"}},
                {"public": "limited", "private": "priv", "rights": {"agreement_types": ["Managed Services"]}},
                {"public": "buyer", "private": "priv", "rights": {"product_catalog_inquire": "all"}},
            ],
            "companies": [{"id": number, "name": f"Company {number:02}"} for number in range(1, 61)],
            "agreements": [
                {"id": 7, "company": {"id": 1}},
                {"id": 8, "company": {"id": 2}, "type": {"id": 2, "name": "Hardware"}},
                {"id": 9, "company": {"id": 3}},
            ],
            "additions": [
                {"id": 11, "agreementId": 7, "quantity": 4},
                {"id": 13, "agreementId": 8},
            ],
            "catalog": [{"id": 5, "identifier": "PHIN"}],
        },
        {"company_identifier": "onprem", "codebase": "v4_6_release/", "keys": [{"public": "p", "private": "q"}]},
        {"company_identifier": "busy", "keys": [{"public": "p", "private": "q"}], "requests_per_minute": 2},
    ],
}
BASE = "/v2025_1/apis/3.0"
ADDITION = f"{BASE}/finance/agreements/7/additions/11"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    """Serve the state above, which no test changes."""
    with SimulatorServer(STATE, tls=False) as server:
        yield server


def client(simulator: SimulatorServer, public: str = "pub", private: str = "priv", **headers: str) -> httpx.Client:
    """Make a client with a key of acmemsp, or of another `company`."""
    return httpx.Client(
        base_url=simulator.url,
        auth=(f"{headers.pop('company', 'acmemsp')}+{public}", private),
        headers={"clientId": "00000000-0000-0000-0000-000000000000", **headers},
        trust_env=False,
    )


def test_company_info_says_where_the_api_is(simulator: SimulatorServer) -> None:
    """A client finds the base URL of a tenant without keys, and null for a company that is not there."""
    with httpx.Client(base_url=simulator.url, trust_env=False) as anybody:
        info = anybody.get("/login/companyinfo/acmemsp").json()
        assert info["Codebase"] == "v2025_1/"
        assert info["IsCloud"] == "True"
        assert info["SiteUrl"] == simulator.url.removeprefix("http://")
        assert anybody.get("/login/companyinfo/onprem").json()["IsCloud"] == "False"
        unknown = anybody.get("/login/companyinfo/ACMEMSP")
        assert (unknown.status_code, unknown.text) == (200, "null")


@pytest.mark.parametrize(
    "path",
    [
        "/v2024_9/apis/3.0/system/info",
        "/v2025_1apis/3.0/system/info",
        f"{BASE}{BASE}/system/info",
        "/v2025_1/v2025_1/apis/3.0/system/info",
        "/system/info",
        "/",
    ],
)
def test_a_wrong_path_cannot_be_routed(simulator: SimulatorServer, path: str) -> None:
    """A stale, joined or doubled base path is a 400 in plain text, never a 401 or 404."""
    with client(simulator) as http:
        reply = http.get(path)
        assert (reply.status_code, reply.text) == (400, "Cannot route. Codebase/company is invalid")
        assert reply.headers["Content-Type"].startswith("text/plain")


def test_wrong_keys_are_refused(simulator: SimulatorServer) -> None:
    """Wrong or absent keys are a 401, through the cloud's router a 404, and another company cannot be routed."""
    with client(simulator, private="wrong") as http:
        reply = http.get(f"{BASE}/company/companies")
        assert (reply.status_code, reply.json()["code"]) == (401, "Unauthorized")
        assert http.get("/v4_6_release/apis/3.0/company/companies").status_code == 404
        assert httpx.get(f"{simulator.url}{BASE}/system/info", trust_env=False).status_code == 401
    with client(simulator, company="nobody") as http:
        assert http.get(f"{BASE}/system/info").status_code == 400


def test_the_router_codebase_works_too(simulator: SimulatorServer) -> None:
    """The unversioned codebase reaches a cloud tenant, and is the only one of an on-premise tenant."""
    with client(simulator) as http:
        assert http.get("/v4_6_release/apis/3.0/company/companies/count").json() == {"count": 60}
    with client(simulator, "p", "q", company="onprem") as http:
        assert http.get("/v4_6_release/apis/3.0/system/info").json()["isCloud"] is False
        assert http.get(f"{BASE}/system/info").status_code == 400


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_missing_client_id_is_named(status: int) -> None:
    """Without a clientId the body names it, whatever the status."""
    with SimulatorServer({**STATE, "client_id_status": status}, tls=False) as server, client(server) as http:
        reply = http.get(f"{BASE}/system/info", headers={"clientId": ""})
        assert reply.status_code == status
        assert "clientId" in reply.json()["message"]


@pytest.mark.parametrize(
    ("key", "denied"),
    [
        ("poor", "company/companies"),
        ("blind", "finance/agreements"),
        ("blind", "finance/agreements/7/additions"),
        ("pub", "procurement/catalog"),
        ("limited", "finance/agreements/8"),
        ("limited", "finance/agreements/8/additions/13"),
    ],
)
def test_a_missing_right_is_a_403(simulator: SimulatorServer, key: str, denied: str) -> None:
    """A request that the security role does not allow is a 403 with ConnectWise's words."""
    with client(simulator, key) as http:
        reply = http.get(f"{BASE}/{denied}")
        assert (reply.status_code, reply.json()["code"]) == (403, "Security")


def test_a_key_that_may_only_read_cannot_patch(simulator: SimulatorServer) -> None:
    """Reading works without the Edit right, and a PATCH is refused and changes nothing."""
    with client(simulator, "reader") as http:
        assert http.get(ADDITION).status_code == 200
        assert http.patch(ADDITION, json=[{"op": "replace", "path": "quantity", "value": 9}]).status_code == 403
    assert simulator.state.quantity("acmemsp", 11) == 4


def test_a_role_limited_to_types_gets_short_lists(simulator: SimulatorServer) -> None:
    """Agreements of other types are left out of lists and counts, with no error."""
    with client(simulator, "limited") as http:
        assert [one["id"] for one in http.get(f"{BASE}/finance/agreements").json()] == [7, 9]
        assert http.get(f"{BASE}/finance/agreements/count").json() == {"count": 2}


def test_the_catalogue_opens_with_its_right(simulator: SimulatorServer) -> None:
    """A key with the Product Catalog right reads products."""
    with client(simulator, "buyer") as http:
        assert http.get(f"{BASE}/procurement/catalog/5").json()["identifier"] == "PHIN"


def test_pages_are_linked(simulator: SimulatorServer) -> None:
    """Following `next` from page 1 yields every record once; the pages know first, prev and last."""
    with client(simulator) as http:
        reply = http.get(f"{BASE}/company/companies", params={"pageSize": 25, "conditions": "id>0"})
        assert "prev" not in reply.links
        assert reply.links["last"]["url"].endswith("page=3")
        ids = [one["id"] for one in reply.json()]
        while "next" in reply.links:
            assert reply.links["next"]["url"].startswith(simulator.url)
            reply = http.get(reply.links["next"]["url"])
            ids += [one["id"] for one in reply.json()]
        assert ids == list(range(1, 61))
        assert {"first", "prev", "last"} == set(reply.links)
        assert http.get(f"{BASE}/company/companies", params={"page": 9}).json() == []


@pytest.mark.parametrize(
    "path", ["company/companies", "finance/agreements", "finance/agreements/7/additions", "procurement/catalog"]
)
def test_a_list_may_end_in_a_slash(simulator: SimulatorServer, path: str) -> None:
    """A client that ends lists in a slash, as connectpyse does, gets the same list, and its pages are linked so too."""
    with client(simulator) as http:
        assert http.get(f"{BASE}/{path}/").json() == http.get(f"{BASE}/{path}").json()
        assert http.get(f"{BASE}/company/companies/").links["next"]["url"].partition("?")[0].endswith("/companies/")
        assert http.get(f"{BASE}/company/companies/count/").status_code == 404


def test_page_size_has_a_default_and_a_cap(simulator: SimulatorServer) -> None:
    """A page holds 25 records unless told otherwise, and a size above 1000 is capped in silence."""
    with client(simulator) as http:
        assert len(http.get(f"{BASE}/company/companies").json()) == 25
        reply = http.get(f"{BASE}/company/companies", params={"pageSize": 5000})
        assert "pageSize=1000" in reply.links["last"]["url"]


def test_forward_only_paging(simulator: SimulatorServer) -> None:
    """With `pagination-type: forward-only` the rows go on after `pageId`, with `next` as the only link."""
    with client(simulator, **{"pagination-type": "forward-only"}) as http:
        reply = http.get(f"{BASE}/company/companies", params={"pageSize": 40})
        assert set(reply.links) == {"next"}
        rest = http.get(reply.links["next"]["url"])
        assert [one["id"] for one in rest.json()] == list(range(41, 61))
        assert rest.links == {}


def test_order_and_fields(simulator: SimulatorServer) -> None:
    """`orderBy` sorts and `fields` projects, references included; unknown names are a 400."""
    with client(simulator) as http:
        query = {"orderBy": "name desc", "fields": "id,status/name", "pageSize": "1"}
        assert http.get(f"{BASE}/company/companies", params=query).json() == [{"id": 60, "status": {"name": "Active"}}]
        for bad in (
            {"fields": "colour"},
            {"orderBy": "colour"},
            {"orderBy": "id up"},
            {"page": "0"},
            {"pageSize": "x"},
        ):
            assert http.get(f"{BASE}/company/companies", params=bad).status_code == 400
        assert http.get(f"{BASE}/company/companies", params={"childConditions": "types/id=1"}).status_code == 400


def test_unknown_records_are_404(simulator: SimulatorServer) -> None:
    """A record that is not there is a 404 naming it, also an addition asked for under another agreement."""
    with client(simulator) as http:
        reply = http.get(f"{BASE}/finance/agreements/99")
        assert (reply.status_code, reply.json()["message"]) == (404, "Agreement 99 not found")
        assert http.get(f"{BASE}/finance/agreements/8/additions/11").status_code == 404
        assert http.get(f"{BASE}/company/companies/abc").status_code == 404


def test_too_many_requests_are_told_when_to_come_back(simulator: SimulatorServer) -> None:
    """A tenant over its rate gets 429 with Retry-After in seconds, and other tenants do not."""
    with client(simulator, "p", "q", company="busy") as http:
        statuses = [http.get(f"{BASE}/system/info").status_code for _ in range(2)]
        reply = http.get(f"{BASE}/system/info")
        assert [*statuses, reply.status_code] == [200, 200, 429]
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert reply.json()["code"] == "ConnectWiseAPI"
    with client(simulator) as http:
        assert http.get(f"{BASE}/system/info").status_code == 200


def test_the_media_type_is_the_one_asked_for(simulator: SimulatorServer) -> None:
    """A versioned Accept is answered in that version, anything else in plain JSON."""
    wanted = "application/vnd.connectwise.com+json; version=2025.8"
    with client(simulator) as http:
        assert http.get(ADDITION, headers={"Accept": wanted}).headers["Content-Type"] == wanted
        assert http.get(ADDITION).headers["Content-Type"] == "application/json; charset=utf-8"
