"""The routes of the simulated REST API (connectwise-api.md 1.2 and 4.1): a `Call` in, a `Reply` out, no network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from cwclient.simulator import errors, patch
from cwclient.simulator.access import ROUTER, Caller, Gate, resource_of
from cwclient.simulator.listing import forward_only_page, matching, numbered_page, projected
from cwclient.simulator.schema import SCHEMAS, Record
from cwclient.simulator.state import ById, State, Tenant

API_VERSION = "2026.4"
LOGIN_PATH = "/login/companyinfo/"

_LISTS = {"companies", "catalog", "agreements", "additions"}
_VENDOR_TYPE = "application/vnd.connectwise.com+json"


@dataclass(frozen=True)
class Call:
    """A request: `origin` is the scheme, host and port it was sent to, header names are in lower case.

    `keep_changes` false makes a PATCH answer 200 and change nothing; `show_changes` false makes it show none.
    """

    method: str
    path: str
    origin: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    keep_changes: bool = True
    show_changes: bool = True


@dataclass(frozen=True)
class Reply:
    """A response, and for a PATCH that reached an addition its quantity before and after."""

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    quantity_before: float | None = None
    quantity_after: float | None = None


class Api:
    """Answers calls from the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._gate = Gate(state)

    def answer(self, call: Call) -> Reply:
        """Answer a call; every failure is a reply too."""
        try:
            with self._state.lock:
                if call.path.startswith(LOGIN_PATH):
                    _read_only(call)
                    return self._company_info(call)
                caller = self._gate.admit(call.path, call.headers)
                return self._resource(call, caller)
        except errors.ApiError as error:
            return error_reply(error)

    def _company_info(self, call: Call) -> Reply:
        """Say where the tenant's API is, to anybody (connectwise-api.md 1.2); null for an unknown company."""
        tenant = self._state.find(call.path.removeprefix(LOGIN_PATH))
        if tenant is None:
            return _json(call, None)
        settings = tenant.settings
        info = {
            "CompanyName": settings.company_identifier,
            "Codebase": settings.codebase,
            "VersionCode": settings.codebase.rstrip("/").replace("_", "."),
            "VersionNumber": "v4.6.38842",
            "CompanyID": settings.company_identifier,
            "IsCloud": str(settings.codebase != ROUTER),
            "SiteUrl": settings.site_url or call.origin.partition("://")[2],
        }
        return _json(call, info)

    def _resource(self, call: Call, caller: Caller) -> Reply:
        tenant = caller.tenant
        match _steps(resource_of(call.path) or ""):
            case ["system", "info"]:
                _read_only(call)
                return _json(call, _system_info(tenant))
            case ["company", "companies", *rest] if len(rest) < 2:
                caller.require("company_maintenance_inquire")
                return _read(call, "Company", tenant.companies, rest)
            case ["procurement", "catalog", *rest] if len(rest) < 2:
                caller.require("product_catalog_inquire")
                return _read(call, "CatalogItem", tenant.catalog, rest)
            case ["finance", "agreements", *rest] if len(rest) < 2:
                caller.require("agreements_inquire")
                if rest not in ([], ["count"]):
                    caller.agreement(_id(rest[0]))
                return _read(call, "Agreement", caller.agreements(), rest)
            case ["finance", "agreements", parent, "additions", addition] if call.method == "PATCH":
                caller.require("agreements_edit")
                return self._patch(call, caller, _id(parent), _id(addition))
            case ["finance", "agreements", parent, "additions", *rest] if len(rest) < 2:
                caller.require("agreements_inquire")
                agreement = caller.agreement(_id(parent))
                found = self._additions(tenant, agreement["id"], one=rest not in ([], ["count"]))
                return _read(call, "Addition", found, rest)
        raise errors.not_found("Resource")

    def _patch(self, call: Call, caller: Caller, agreement_id: int, addition_id: int) -> Reply:
        if call.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise errors.unsupported_media_type()
        caller.agreement(agreement_id)
        before = self._additions(caller.tenant, agreement_id, one=True).get(addition_id)
        if before is None:
            raise errors.not_found(f"Addition {addition_id}")
        own = caller.tenant.agreements[before["agreementId"]]
        after = patch.patched(before, own, patch.parse_operations(call.body), caller.key.member)
        if self._state.closed_records == "refuse" and patch.is_closed(before):
            raise errors.invalid_addition("InvalidStatus", "The addition or its agreement is cancelled or expired.")
        if call.keep_changes:
            caller.tenant.put_addition(after)
        else:
            after = before
        shown = after if call.show_changes else before
        return replace(_json(call, shown), quantity_before=before.get("quantity"), quantity_after=after.get("quantity"))

    def _additions(self, tenant: Tenant, agreement_id: int, *, one: bool) -> ById:
        """Return the additions to be had under an agreement; of another's only `one`, if the state has it so."""
        if one and self._state.foreign_additions == "accept":
            return tenant.additions
        return tenant.additions_of.get(agreement_id, {})


def error_reply(error: errors.ApiError) -> Reply:
    """Turn an error into the reply that carries it."""
    return Reply(error.status, error.body, error.media_type, error.headers)


def _read(call: Call, schema: str, records: ById, rest: list[str]) -> Reply:
    """Answer GET of a list, its `count`, or one record by id."""
    _read_only(call)
    fields = SCHEMAS[schema]
    if rest == ["count"]:
        return _json(call, {"count": len(matching(records.values(), fields, call.query))})
    if rest:
        record = records.get(_id(rest[0]))
        if record is None:
            raise errors.not_found(f"{schema} {rest[0]}")
        return _json(call, projected(record, fields, call.query))
    found, url = matching(records.values(), fields, call.query), call.origin + quote(call.path)
    if call.headers.get("pagination-type", "").lower() == "forward-only":
        page = forward_only_page(found, call.query, url)
    else:
        page = numbered_page(found, fields, call.query, url)
    body = [projected(record, fields, call.query) for record in page.records]
    return _json(call, body, {"Link": page.link} if page.link else {})


def _steps(resource: str) -> list[str]:
    """Split the path of a resource. A list may end in a slash, as the client connectpyse always has it."""
    *steps, last = resource.split("/")
    return steps if not last and steps and steps[-1] in _LISTS else [*steps, last]


def _read_only(call: Call) -> None:
    if call.method != "GET":
        raise errors.method_not_allowed()


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise errors.not_found(f"Record {text!r}")
    return int(text)


def _system_info(tenant: Tenant) -> Record:
    """Answer `/system/info` (connectwise-api.md 4.1); that it asks for keys is one of two accounts."""
    return {
        "version": tenant.settings.codebase.rstrip("/").replace("_", "."),
        "isCloud": tenant.settings.codebase != ROUTER,
        "serverTimeZone": "UTC",
        "licenseBits": [],
        "cloudRegion": "NA",
        "maxWorkFlowRecordsAllowed": 1000,
    }


def _json(call: Call, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer 200 in the media type that was asked for: the versioned one of connectwise-api.md 2.1, or plain JSON."""
    accept = call.headers.get("accept", "")
    media_type = accept if accept.startswith(_VENDOR_TYPE) else "application/json; charset=utf-8"
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(200, body, media_type, {"api-current-version": API_VERSION, **(headers or {})})
