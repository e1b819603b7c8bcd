"""Every 2xx body of the simulator is valid by ConnectWise's published OpenAPI document."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

import cwclient.simulator
from cwclient.simulator import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = Path(os.environ.get("CONNECTWISE_OPENAPI", ROOT.parent / "shared" / "connectwise-openapi.json"))
STATE: dict[str, Any] = {
    "tenants": [
        {
            "company_identifier": "acmemsp",
            "keys": [{"public": "pub", "private": "priv", "rights": {"product_catalog_inquire": "all"}}],
            "companies": [{"id": 1}, {"id": 2, "types": [{"id": 1, "name": "Client"}], "deletedFlag": True}],
            "agreements": [
                {"id": 1, "company": {"id": 1}},
                {"id": 2, "company": {"id": 2}, "startDate": "2024-02-01", "endDate": "2025-01-31T00:00:00Z"},
            ],
            "additions": [
                {"id": 1, "agreementId": 1},
                {"id": 2, "agreementId": 1, "quantity": 2.5, "cancelledDate": "2025-01-01", "margin": None},
                {"id": 3, "agreementId": 2},
            ],
            "catalog": [{"id": 1}],
        }
    ]
}


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    """Read the published document, which is not part of this repository."""
    if not DOCUMENT.exists():
        pytest.skip(f"ConnectWise's OpenAPI document is not at {DOCUMENT.name}; set CONNECTWISE_OPENAPI to its path")
    document: dict[str, Any] = json.loads(DOCUMENT.read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Serve the state above and connect to its base URL."""
    with (
        SimulatorServer(STATE, tls=False) as server,
        httpx.Client(
            base_url=f"{server.url}/v2025_1/apis/3.0",
            auth=("acmemsp+pub", "priv"),
            headers={"clientId": "id"},
            trust_env=False,
        ) as client,
    ):
        yield client


def as_json_schema(value: Any) -> Any:
    """Turn OpenAPI 3.0 schemas into JSON Schema: `nullable` becomes one more type and one more enum value."""
    if isinstance(value, list):
        return [as_json_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {key: as_json_schema(item) for key, item in value.items() if key != "nullable"}
    if value.get("nullable") is True:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def checker(openapi: dict[str, Any], operation: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """Make a validator of the 200 body of an operation."""
    [content] = operation["responses"]["200"]["content"].values()
    schema = {**as_json_schema(content["schema"]), "components": as_json_schema(openapi["components"])}
    formats = jsonschema.FormatChecker()
    formats.checks("date-time")(is_connectwise_date)
    return jsonschema.Draft202012Validator(schema, format_checker=formats)


def is_connectwise_date(text: object) -> bool:
    """Accept `yyyy-MM-ddTHH:mm:ssZ` alone."""
    pattern = "dddd-dd-ddTdd:dd:ddZ"
    return isinstance(text, str) and "".join("d" if one.isdigit() else one for one in text) == pattern


READS = [
    "/company/companies",
    "/company/companies/{id}",
    "/company/companies/count",
    "/finance/agreements",
    "/finance/agreements/{id}",
    "/finance/agreements/count",
    "/finance/agreements/{parentId}/additions",
    "/finance/agreements/{parentId}/additions/{id}",
    "/finance/agreements/{parentId}/additions/count",
    "/procurement/catalog",
    "/procurement/catalog/{id}",
    "/procurement/catalog/count",
    "/system/info",
]


@pytest.mark.parametrize("path", READS)
def test_reads_are_valid(openapi: dict[str, Any], http: httpx.Client, path: str) -> None:
    """Each list, record and count that the simulator serves has the published types and required fields."""
    reply = http.get(path.replace("{parentId}", "1").replace("{id}", "1"))
    assert reply.status_code == 200
    checker(openapi, openapi["paths"][path]["get"]).validate(reply.json())


@pytest.mark.parametrize("quantity", [0, 7, 2.25, "12", None])
def test_a_patch_reply_is_valid(openapi: dict[str, Any], http: httpx.Client, quantity: object) -> None:
    """The addition that a PATCH returns is valid whatever form the quantity came in."""
    body = [{"op": "replace", "path": "quantity", "value": quantity}]
    reply = http.patch("/finance/agreements/1/additions/1", json=body)
    assert reply.status_code == 200
    operation = openapi["paths"]["/finance/agreements/{parentId}/additions/{id}"]["patch"]
    checker(openapi, operation).validate(reply.json())


def test_the_check_can_fail(openapi: dict[str, Any]) -> None:
    """A wrong type, a missing required field, a bad date and a null that is not allowed are all found."""
    validator = checker(openapi, openapi["paths"]["/finance/agreements/{parentId}/additions/{id}"]["get"])
    good = {"product": {"id": 1}, "billCustomer": "Billable", "margin": None, "effectiveDate": "2025-01-01T00:00:00Z"}
    assert validator.is_valid(good)
    assert not validator.is_valid({"product": {"id": 1}})
    for change in ({"quantity": "4"}, {"effectiveDate": "2025-01-01"}, {"description": None}, {"billCustomer": "No"}):
        assert not validator.is_valid(good | change)


def test_the_shipped_schemas_are_the_published_ones(openapi: dict[str, Any]) -> None:
    """The schemas that the simulator checks fields by are verbatim ConnectWise's."""
    shipped = json.loads(Path(cwclient.simulator.__file__).with_name("schemas.json").read_text("utf-8"))
    assert shipped == {name: openapi["components"]["schemas"][name] for name in shipped}
