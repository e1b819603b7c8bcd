"""The session with a partner's ConnectWise during a run: its keys in memory, its base URL, its API version.

Its methods are called from several threads at once; each makes at most the HTTP calls that its docstring says.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

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
    as_gateway,
    as_maintenance,
)
from worker.rules.problems import AGREEMENT_INQUIRE, COMPANY_INQUIRE

if TYPE_CHECKING:
    from cwclient.transport import Transport

T = TypeVar("T")

log = structlog.get_logger()

# The base URL is looked up again at most once in this time.
REDISCOVER_EVERY = timedelta(minutes=5)


@dataclass
class ConnectWiseSession:
    """One partner's ConnectWise for the length of a run; every request is taken from the budget.

    Raises cwclient's errors and those of rules/errors.py; rules/outcomes.py decides what follows from each.
    """

    connection: ConnectionVersion
    client_id: str
    open_transport: "Callable[[], Transport]"
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
        self._probe = ConnectionProbe(self._count_agreements)

    def addition(self, agreement_id: int, addition_id: int, seconds: float | None = None) -> Addition:
        """Read an addition, in so many seconds at most: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.addition(agreement_id, addition_id, seconds))

    def agreement(self, agreement_id: int) -> Agreement:
        """Read an agreement: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.agreement(agreement_id))

    def agreement_if_allowed(self, agreement_id: int) -> Agreement | None:
        """Read an agreement that is not needed, by one GET; None = ConnectWise does not give it."""
        try:
            return self._call(lambda client: client.agreement(agreement_id))
        except ConnectWiseError as error:
            log.info("agreement.not_read", error_type=type(error).__name__)
            return None

    def company(self, company_id: int) -> Company:
        """Read a company: one GET, unless the base URL moved or the role is in doubt."""
        try:
            return self._read(lambda client: client.company(company_id))
        except RestrictedAgreement as error:
            # Companies are not restricted by type: a role that counts them but may not read this one lacks "All".
            raise RightRefused(COMPANY_INQUIRE) from error

    def companies(self, convert: Callable[[Company], T], before_page: Callable[[], None]) -> list[T]:
        """Read all companies but the deleted ones, each converted: one GET for each 1000 of them (5.4).

        `before_page` is called before each page but the first, here and below. What it raises ends the list.
        """

        def read(client: ConnectWise) -> list[T]:
            companies = client.companies("deletedFlag=false", before_next=self._before_next(before_page))
            return [convert(company) for company in companies if not company.deleted_flag]

        return self._read(read)

    def agreements(self, company_ids: Collection[int], before_page: Callable[[], None]) -> list[Agreement]:
        """Read the agreements of 1 to 150 companies: one GET for each 1000 of them."""
        before_next = self._before_next(before_page)
        return self._read(lambda client: list(client.agreements(*company_ids, before_next=before_next)))

    def additions(self, agreement_id: int, before_page: Callable[[], None]) -> list[Addition]:
        """Read the additions of an agreement: one GET for each 1000 of them."""
        before_next = self._before_next(before_page)
        return self._read(lambda client: list(client.additions(agreement_id, before_next=before_next)))

    def set_quantity(
        self, agreement_id: int, addition_id: int, quantity: float, seconds: float | None = None
    ) -> Addition:
        """Write the quantity: one PATCH, in so many seconds at most.

        Raises WriteRefused on 401 and 403, Moved if it is to be sent elsewhere.
        """
        client, begun = self.client(), monotonic()
        self.budget.spend()
        try:
            return client.set_quantity(agreement_id, addition_id, quantity, seconds)
        except MissingRight as error:
            raise WriteRefused(error) from error
        except OF_THE_CONNECTION as error:
            self._probe.check(begun)
            raise (WriteRefused if isinstance(error, BadCredentials) else Unconfirmed)(error) from error
        except VersionRefused as error:
            self._switch_version(client, error)
            raise Moved from error
        except (RecordNotFound, WrongRoute) as error:
            try:
                self._rediscover(client, error, begun)
            except RecordNotFound as gone:
                raise as_gateway(gone) from error
            raise Moved from error

    def counts(self) -> dict[str, int | None]:
        """Read the counts by which the Inquire rights are proven, two GETs; None = denied (connectwise-api.md 4.1)."""
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
                raise self._or_maintenance(error) from error
        return counts

    def visible_agreements(self, ids: Collection[int]) -> set[int]:
        """Return those of 1 to 150 agreements that the role sees: one GET."""
        return self._call(lambda client: client.visible_agreements(ids))

    def find_base_url(self) -> BaseUrl:
        """Ask login/companyinfo for the base URL, one GET, and use it from now on, with the setting's API version."""
        try:
            found = call_twice(self._discover)
        except WrongRoute as error:
            raise self._or_maintenance(error) from error
        self.versions.reset()
        client, version = self._client, self.versions.current
        if client is not None and (client.base_url, client.version) != (found.url, version):
            self._client = None
        self.discovery = replace(self.discovery, base_url=found.url, looked_up_at=self.clock(), is_new=True)
        return found

    def _discover(self) -> BaseUrl:
        self.budget.spend()
        site_url, company = self.connection.site_url or "", self.connection.company_identifier or ""
        return discover(site_url, company, self.open_transport())

    def client(self) -> ConnectWise:
        """Return the client for the base URL in use, which is looked up first if none is known."""
        with self._lock:
            if self._client is None:
                if self.discovery.base_url is None:
                    self.find_base_url()
                self._client = ConnectWise(
                    base_url=self.discovery.base_url or "",
                    credentials=credentials_of(self.connection, self.key_ring, were_taken=self.discovery.answered),
                    client_id=self.client_id,
                    transport=self.open_transport(),
                    version=self.versions.current,
                )
            return self._client

    def _before_next(self, before_page: Callable[[], None]) -> Callable[[], None]:
        def before_next() -> None:
            before_page()
            self.budget.spend()

        return before_next

    def _call(self, call: Callable[[ConnectWise], T]) -> T:
        """Make a call, again for each API version that the server names in place of the one that it refuses."""
        while True:
            client = self.client()
            self.budget.spend()
            try:
                answer = call(client)
            except VersionRefused as error:
                self._switch_version(client, error)
            else:
                self._note_answer(client)
                return answer

    def _read(self, call: Callable[[ConnectWise], T]) -> T:
        """Make a call that reads a record or a list. What may blame the connection is confirmed by another call."""
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
            self._rediscover(client, error, begun)
        try:
            return self._call(call)
        except WrongRoute as error:
            raise self._or_maintenance(error) from error

    def _count_agreements(self) -> ConnectWiseError | None:
        """Probe the connection by one GET: return its error; None = ConnectWise answers and knows the keys."""
        try:
            self._call(ConnectWise.count_agreements)
        except MissingRight:
            return None
        except RecordNotFound as error:
            return self._or_maintenance(WrongRoute(error.message, status=error.status))
        except ConnectWiseError as error:
            return error
        return None

    def _prove_rights(self) -> None:
        """Raise RightRefused unless both Inquire rights are granted; read once a run."""
        with self._proving:
            if self._counts is None:
                self._counts = self.counts()
        for right, count in self._counts.items():
            if count is None:
                raise RightRefused(right)

    def _note_answer(self, client: ConnectWise) -> None:
        """Note that the API answers, and the version that it was asked for."""
        version = None if client.version == self.versions.configured else client.version
        with self._lock:
            known = self.discovery
            if self._client is client and (known.answered, known.api_version) != (True, version):
                self.discovery = replace(known, answered=True, api_version=version, is_new=True)

    def _switch_version(self, client: ConnectWise, error: VersionRefused) -> None:
        """Ask for another API version from now on. Raises the error if there is none left."""
        with self._lock:
            # Another call may have found one meanwhile.
            if self._client is client:
                if not self.versions.switch(error.named):
                    raise error
                self._client = None

    def _rediscover(self, client: ConnectWise, error: RecordNotFound | WrongRoute, begun: float) -> None:
        """Look the base URL up again, at most once in 5 minutes. Raises the error unless another one is in use now.

        Before the connection is blamed, or a record, another call confirms it.
        """
        with self._lock:
            if self._client is not client:
                return  # another call has found it meanwhile
            before, last = self.discovery.base_url, self.discovery.looked_up_at
            wait = REDISCOVER_EVERY - (self.clock() - last) if last is not None else timedelta(0)
            if wait <= timedelta(0):
                self.find_base_url()
                if self.discovery.base_url != before:
                    return
        if isinstance(error, RecordNotFound):
            self._probe.check(begun)
            raise error
        maintenance = self._or_maintenance(error)
        if maintenance is not error:
            raise maintenance
        if wait > timedelta(0) and self.discovery.answered:
            raise RouteUnknown(error, wait.total_seconds())
        self._probe.check(begun)
        raise Unconfirmed(error)

    def _or_maintenance(self, error: WrongRoute) -> ConnectWiseError:
        """Return the error, as maintenance if it may be that where the API has answered before."""
        return as_maintenance(error) if self.discovery.answered else error
