"""A partner's ConnectWise, as one run sees it: keys opened in memory, base URL found, moved or proven.

Its methods are called from several threads at once; each makes at most the HTTP calls that its docstring says.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from time import monotonic
from typing import TypeVar

import structlog

from cwclient import (
    Addition,
    Agreement,
    BadCredentials,
    BaseUrl,
    Company,
    ConnectWise,
    ConnectWiseError,
    MissingRight,
    RecordNotFound,
    Transport,
    VersionRefused,
    WrongRoute,
    discover,
)
from messages import KeyRing
from store.connections import ConnectionVersion
from worker.connectwise.api_version import ApiVersions, Discovery
from worker.connectwise.connection_probe import ConnectionProbe, call_twice
from worker.connectwise.credentials import credentials_of
from worker.connectwise.rate_limit import RequestBudget
from worker.rules.errors import (
    OF_THE_CONNECTION,
    Moved,
    RestrictedAgreement,
    RightRefused,
    RouteUnknown,
    Unconfirmed,
    WriteRefused,
    as_maintenance,
)
from worker.rules.problems import AGREEMENT_INQUIRE, COMPANY_INQUIRE

T = TypeVar("T")

log = structlog.get_logger()

REDISCOVER_EVERY = timedelta(minutes=5)


@dataclass
class ConnectWiseSession:
    """One partner's ConnectWise for the length of a run; every request is taken from the budget.

    Raises cwclient's errors and those of policy.py.
    """

    connection: ConnectionVersion
    client_id: str
    open_transport: Callable[[], Transport]
    key_ring: KeyRing
    clock: Callable[[], datetime]
    discovery: Discovery
    budget: RequestBudget
    versions: ApiVersions
    _lock: Lock = field(default_factory=Lock)
    _client: ConnectWise | None = None
    _proving: Lock = field(default_factory=Lock)
    _counts: dict[str, int | None] | None = None

    def __post_init__(self) -> None:
        self._probe = ConnectionProbe(self._ask_for_agreements)

    def addition(self, agreement_id: int, addition_id: int, seconds: float | None = None) -> Addition:
        """Read the addition, in so many seconds at most: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.addition(agreement_id, addition_id, seconds))

    def agreement(self, agreement_id: int) -> Agreement:
        """Read the agreement: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.agreement(agreement_id))

    def agreement_if_allowed(self, agreement_id: int) -> Agreement | None:
        """Read the agreement for what it tells besides: by one GET, None if ConnectWise does not give it."""
        try:
            return self._call(lambda client: client.agreement(agreement_id))
        except ConnectWiseError as error:
            log.info("agreement.not_read", error_type=type(error).__name__)
            return None

    def company(self, company_id: int) -> Company:
        """Read the company: one GET, unless the base URL moved or the role is in doubt."""
        try:
            return self._read(lambda client: client.company(company_id))
        except RestrictedAgreement as error:
            # Companies are not restricted by type: a role that counts them but may not read this one has not "All".
            raise RightRefused(COMPANY_INQUIRE) from error

    def companies(self, make: Callable[[Company], T], turn: Callable[[], None]) -> list[T]:
        """Return what `make` makes of each company but the deleted ones, in pages of 1000: one GET each (5.4).

        `turn` is called before the request of each page but the first, here and below; what it raises ends it.
        """

        def every(client: ConnectWise) -> list[T]:
            found = client.companies("deletedFlag=false", before_next=self._next(turn))
            return [make(company) for company in found if not company.deleted_flag]

        return self._read(every)

    def agreements(self, company_ids: Collection[int], turn: Callable[[], None]) -> list[Agreement]:
        """The agreements of 1 to 150 companies: one GET for each 1000 of them."""
        return self._read(lambda client: list(client.agreements(*company_ids, before_next=self._next(turn))))

    def additions(self, agreement_id: int, turn: Callable[[], None]) -> list[Addition]:
        """The additions of an agreement: one GET for each 1000 of them."""
        return self._read(lambda client: list(client.additions(agreement_id, before_next=self._next(turn))))

    def set_quantity(self, agreement_id: int, addition_id: int, quantity: float) -> Addition:
        """Set the quantity: one PATCH. Raises WriteRefused on 401 and 403, Moved if it has to be asked otherwise."""
        client, begun = self.client(), monotonic()
        self.budget.spend()
        try:
            return client.set_quantity(agreement_id, addition_id, quantity)
        except MissingRight as error:
            raise WriteRefused(error) from error
        except OF_THE_CONNECTION as error:
            self._probe.check(begun)
            raise (WriteRefused if isinstance(error, BadCredentials) else Unconfirmed)(error) from error
        except VersionRefused as error:
            self._ask_otherwise(client, error)
            raise Moved from error
        except (RecordNotFound, WrongRoute) as error:
            self._look_elsewhere(client, error, begun)
            raise Moved from error

    def counts(self) -> dict[str, int | None]:
        """Ask for the counts that prove the Inquire rights, two GETs; None = denied (connectwise-api.md 4.1)."""
        counts: dict[str, int | None] = {}
        for right, count in (
            (COMPANY_INQUIRE, ConnectWise.count_companies),
            (AGREEMENT_INQUIRE, ConnectWise.count_agreements),
        ):
            try:
                counts[right] = call_twice(partial(self._call, count))
            except MissingRight:
                counts[right] = None
            except WrongRoute as error:
                raise self._passing(error) from error
        return counts

    def visible_agreements(self, ids: Collection[int]) -> set[int]:
        """Return those of these ids (1 to 150) whose agreements the role sees: one GET."""
        return self._call(lambda client: client.visible_agreements(ids))

    def find_base_url(self) -> BaseUrl:
        """Ask login/companyinfo for the base URL, one GET, and use it from now on, with the setting's API version."""
        try:
            found = call_twice(self._discover)
        except WrongRoute as error:
            raise self._passing(error) from error
        self.versions.begin_anew()
        if self._client is not None and (found.url, self.versions.asked) != (
            self._client.base_url,
            self._client.version,
        ):
            self._client = None
        self.discovery = replace(self.discovery, base_url=found.url, looked_up_at=self.clock(), is_new=True)
        return found

    def _discover(self) -> BaseUrl:
        self.budget.spend()
        site_url, company = self.connection.site_url or "", self.connection.company_identifier or ""
        return discover(site_url, company, self.open_transport())

    def client(self) -> ConnectWise:
        """The client for the base URL in use; looked up first if none is known."""
        with self._lock:
            if self._client is None:
                if self.discovery.base_url is None:
                    self.find_base_url()
                self._client = ConnectWise(
                    base_url=self.discovery.base_url or "",
                    credentials=credentials_of(self.connection, self.key_ring),
                    client_id=self.client_id,
                    transport=self.open_transport(),
                    version=self.versions.asked,
                )
            return self._client

    def _next(self, turn: Callable[[], None]) -> Callable[[], None]:
        def spend() -> None:
            turn()
            self.budget.spend()

        return spend

    def _call(self, call: Callable[[ConnectWise], T]) -> T:
        """Make a request, and again for each API version that the server names in place of the one it refuses."""
        while True:
            client = self.client()
            self.budget.spend()
            try:
                answer = call(client)
            except VersionRefused as error:
                self._ask_otherwise(client, error)
            else:
                self._note_answer(client)
                return answer

    def _read(self, call: Callable[[ConnectWise], T]) -> T:
        client, begun = self.client(), monotonic()
        try:
            return self._call(call)
        except MissingRight as error:
            self._prove_rights()
            raise RestrictedAgreement from error
        except OF_THE_CONNECTION as error:
            self._probe.check(begun)
            raise Unconfirmed(error) from error
        except (RecordNotFound, WrongRoute) as error:
            # A 404 or "Cannot route" may be a codebase that changed with an upgrade (connectwise-api.md 1.3).
            self._look_elsewhere(client, error, begun)
        try:
            return self._call(call)
        except WrongRoute as error:
            raise self._passing(error) from error

    def _ask_for_agreements(self) -> ConnectWiseError | None:
        """Ask for their count, one GET; None = ConnectWise answers it and knows the keys."""
        try:
            self._call(ConnectWise.count_agreements)
        except MissingRight:
            return None
        except RecordNotFound as error:
            return self._passing(WrongRoute(error.message, status=error.status))
        except ConnectWiseError as error:
            return error
        return None

    def _prove_rights(self) -> None:
        """Raise RightRefused unless both Inquire rights are granted; asked once a run."""
        with self._proving:
            if self._counts is None:
                self._counts = self.counts()
        for right, count in self._counts.items():
            if count is None:
                raise RightRefused(right)

    def _note_answer(self, client: ConnectWise) -> None:
        """Remember that the API answers, and which version it was asked for."""
        version = None if client.version == self.versions.wanted else client.version
        with self._lock:
            known = self.discovery
            if self._client is client and (known.answered, known.api_version) != (True, version):
                self.discovery = replace(known, answered=True, api_version=version, is_new=True)

    def _ask_otherwise(self, client: ConnectWise, error: VersionRefused) -> None:
        """Ask for another API version from now on. Raises the error if there is none to ask for."""
        with self._lock:
            # Another call may have found one meanwhile.
            if self._client is client:
                if not self.versions.refused(error.named):
                    raise error
                self._client = None

    def _look_elsewhere(self, client: ConnectWise, error: RecordNotFound | WrongRoute, begun: float) -> None:
        """Look the base URL up again, at most once in 5 minutes. Raises the error if no other one is in use now.

        Before the connection is blamed, or a record, another call confirms it.
        """
        with self._lock:
            if self._client is not client:
                return  # another call has found it meanwhile
            before, last = self.discovery.base_url, self.discovery.looked_up_at
            left = REDISCOVER_EVERY - (self.clock() - last) if last is not None else timedelta(0)
            if left <= timedelta(0):
                self.find_base_url()
                if self.discovery.base_url != before:
                    return
        if isinstance(error, RecordNotFound):
            self._probe.check(begun)
            raise error
        passing = self._passing(error)
        if passing is not error:
            raise passing
        if left > timedelta(0) and self.discovery.answered:
            raise RouteUnknown(error, left.total_seconds())
        self._probe.check(begun)
        raise Unconfirmed(error)

    def _passing(self, error: WrongRoute) -> ConnectWiseError:
        return as_maintenance(error) if self.discovery.answered else error
