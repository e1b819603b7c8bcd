"""The checks of a caller: routing by codebase, clientId, keys, rights and rate (connectwise-api.md 1.3, 2 and 7.1)."""

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cwclient.simulator.document import Key
from cwclient.simulator.errors import (
    cannot_route,
    forbidden,
    missing_client_id,
    not_found,
    too_many_requests,
    unauthorized,
)
from cwclient.simulator.schema import Record
from cwclient.simulator.state import ById, State, Tenant

ROUTER = "v4_6_release/"

_BASE = re.compile(r"/(v[^/]+/)apis/3\.0/(.*)", re.DOTALL)


class Credentials(NamedTuple):
    """The content of Basic authentication, `company+public:private`, decoded."""

    company: str
    public: str
    private: str


class Caller(NamedTuple):
    """An authenticated caller: its tenant and its key."""

    tenant: Tenant
    key: Key

    def require(self, right: str) -> None:
        """Raise ApiError (403) unless the key has a right, a field of `Rights` such as `agreements_edit`."""
        if getattr(self.key.rights, right) == "none":
            raise forbidden()

    def agreements(self) -> ById:
        """Return the agreements that the role can see: others are left out, with no error (connectwise-api.md 2.3)."""
        return {
            agreement_id: agreement
            for agreement_id, agreement in self.tenant.agreements.items()
            if self._sees(agreement)
        }

    def agreement(self, agreement_id: int) -> Record:
        """Return one agreement. Raises ApiError: 404 if there is none, 403 if its type is not open to the role.

        That a single agreement of another type answers 403, and so do its additions, is our assumption.
        """
        agreement = self.tenant.agreements.get(agreement_id)
        if agreement is None:
            raise not_found(f"Agreement {agreement_id}")
        if not self._sees(agreement):
            raise forbidden()
        return agreement

    def _sees(self, agreement: Record) -> bool:
        types = self.key.rights.agreement_types
        return types is None or agreement["type"].get("name") in types


def credentials(headers: Mapping[str, str]) -> Credentials | None:
    """Read the Authorization header (connectwise-api.md 2.1); None if it is absent or not of that form."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, private = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    company, plus, public = user.partition("+")
    return Credentials(company, public, private) if plus else None


def resource_of(path: str) -> str | None:
    """Return what follows `/{codebase}apis/3.0/` in a path; None if it does not have that form."""
    match = _BASE.fullmatch(path)
    return match[2] if match else None


class Gate:
    """Lets a request in as a `Caller`, or answers with the error that ConnectWise gives."""

    def __init__(self, state: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}

    def admit(self, path: str, headers: Mapping[str, str]) -> Caller:
        """Return the caller of a path under a base URL. Raises ApiError: 400, 401, 403, 404 or 429.

        Through the cloud's router `v4_6_release/` wrong keys are a 404 (connectwise-api.md 1.3).
        """
        match = _BASE.fullmatch(path)
        if match is None or _BASE.fullmatch("/" + match[2]):
            raise cannot_route()
        codebase, given = match[1], credentials(headers)
        tenant = self._state.find(given.company) if given else None
        if given is None and codebase in self._state.codebases() | {ROUTER}:
            raise unauthorized()
        if given is None or tenant is None or codebase not in {tenant.settings.codebase, ROUTER}:
            raise cannot_route()
        if not headers.get("clientid", "").strip():
            raise missing_client_id(self._state.client_id_status)
        key = _matching_key(tenant, given)
        if key is None:
            raise not_found("Resource") if codebase != tenant.settings.codebase else unauthorized()
        self._count(tenant)
        return Caller(tenant, key)

    def _count(self, tenant: Tenant) -> None:
        limit = tenant.settings.requests_per_minute
        if limit is None:
            return
        identifier, now = tenant.settings.company_identifier, self._clock()
        start, count = self._windows.get(identifier, (now, 0))
        if now - start >= 60:
            start, count = now, 0
        if count >= limit:
            raise too_many_requests(max(1, round(start + 60 - now)))
        self._windows[identifier] = (start, count + 1)


def _matching_key(tenant: Tenant, given: Credentials) -> Key | None:
    for key in tenant.settings.keys:
        private = key.private.get_secret_value().encode()
        if key.public == given.public and hmac.compare_digest(private, given.private.encode()):
            return key
    return None
