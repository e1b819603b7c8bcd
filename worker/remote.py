"""A partner's ConnectWise, as one run sees it: keys opened in memory, base URL found, moved or proven.

Its methods are called from several threads at once; each makes at most the HTTP calls that its docstring says.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeVar

import structlog

from cwclient import (
    Addition,
    Agreement,
    BaseUrl,
    Company,
    ConnectWise,
    ConnectWiseError,
    Credentials,
    MissingRight,
    RecordNotFound,
    Transport,
    WrongRoute,
    discover,
)
from messages import KeyRing, SealedPrivateKey, SealError, SealMismatch, UnknownSealKey, unseal
from store.connections import ConnectionVersion
from worker.budget import Budget
from worker.policy import KeyMismatch, KeyUnreadable, Moved, RestrictedAgreement, RightRefused, SealKeyUnknown
from worker.problems import AGREEMENT_EDIT, AGREEMENT_INQUIRE, COMPANY_INQUIRE

T = TypeVar("T")

log = structlog.get_logger()

FIELDS = {
    "company_identifier": "Company ID",
    "partner_id": "account",
    "public_key": "Public Key",
    "site_host": "ConnectWise URL",
}
"""What a sealed private key belongs to, in the words of the connection's form."""
REDISCOVER_EVERY = timedelta(minutes=5)


@dataclass
class Discovery:
    """The base URL in use. `moved` = found during this run, so that the run stores it."""

    base_url: str | None
    looked_up_at: datetime | None
    moved: bool = False


@dataclass
class Remote:
    """One partner's ConnectWise for the length of a run; every request is taken from the budget.

    Raises cwclient's errors and those of policy.py.
    """

    connection: ConnectionVersion
    client_id: str
    open_transport: Callable[[], Transport]
    key_ring: KeyRing
    clock: Callable[[], datetime]
    discovery: Discovery
    budget: Budget
    _lock: Lock = field(default_factory=Lock)
    _client: ConnectWise | None = None
    _proving: Lock = field(default_factory=Lock)
    _counts: dict[str, int | None] | None = None

    def addition(self, agreement_id: int, addition_id: int) -> Addition:
        """Read the addition: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.addition(agreement_id, addition_id))

    def agreement(self, agreement_id: int) -> Agreement:
        """Read the agreement: one GET, unless the base URL moved or the role is in doubt."""
        return self._read(lambda client: client.agreement(agreement_id))

    def agreement_if_allowed(self, agreement_id: int) -> Agreement | None:
        """Read the agreement for what it tells besides: by one GET, None if ConnectWise does not give it."""
        client = self.client()
        self.budget.spend()
        try:
            return client.agreement(agreement_id)
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

    def company_if_allowed(self, company_id: int) -> Company | None:
        """Read the company: one GET; None if the role may not. Ask for something else first: the base URL may move."""
        client = self.client()
        self.budget.spend()
        try:
            return client.company(company_id)
        except MissingRight:
            return None

    def companies(self, make: Callable[[Company], T], turn: Callable[[], None]) -> list[T]:
        """What `make` makes of each company but the deleted ones, in pages of 1000: one GET each (5.4).

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
        """Set the quantity: one PATCH. Raises RightRefused on 403, Moved if the base URL has changed."""
        client = self.client()
        self.budget.spend()
        try:
            return client.set_quantity(agreement_id, addition_id, quantity)
        except MissingRight as error:
            raise RightRefused(AGREEMENT_EDIT, error.said) from error
        except (RecordNotFound, WrongRoute) as error:
            if not self._moved_from(client):
                raise
            raise Moved from error

    def counts(self) -> dict[str, int | None]:
        """Ask for the counts that prove the Inquire rights, two GETs; None = denied (connectwise-api.md 4.1)."""
        client = self.client()
        counts: dict[str, int | None] = {}
        for right, count in (
            (COMPANY_INQUIRE, client.count_companies),
            (AGREEMENT_INQUIRE, client.count_agreements),
        ):
            self.budget.spend()
            try:
                counts[right] = count()
            except MissingRight:
                counts[right] = None
        return counts

    def visible_agreements(self, ids: Collection[int]) -> set[int]:
        """Which of these agreements (1 to 150) the role sees: one GET."""
        client = self.client()
        self.budget.spend()
        return client.visible_agreements(ids)

    def look_up(self) -> BaseUrl:
        """Ask login/companyinfo for the base URL, one GET, and use it from now on."""
        self.budget.spend()
        found = discover(
            self.connection.site_url or "", self.connection.company_identifier or "", self.open_transport()
        )
        if found.url != self.discovery.base_url:
            self._client = None
        self.discovery = Discovery(base_url=found.url, looked_up_at=self.clock(), moved=True)
        return found

    def client(self) -> ConnectWise:
        """The client for the base URL in use; looked up first if none is known."""
        with self._lock:
            if self._client is None:
                if self.discovery.base_url is None:
                    self.look_up()
                self._client = ConnectWise(
                    base_url=self.discovery.base_url or "",
                    credentials=self._credentials(),
                    client_id=self.client_id,
                    transport=self.open_transport(),
                )
            return self._client

    def _next(self, turn: Callable[[], None]) -> Callable[[], None]:
        def spend() -> None:
            turn()
            self.budget.spend()

        return spend

    def _read(self, call: Callable[[ConnectWise], T]) -> T:
        client = self.client()
        self.budget.spend()
        try:
            return call(client)
        except MissingRight as error:
            self._prove_rights()
            raise RestrictedAgreement from error
        except (RecordNotFound, WrongRoute):
            # A 404 or "Cannot route" may be a codebase that changed with an upgrade (connectwise-api.md 1.3).
            if not self._moved_from(client):
                raise
            moved = self.client()
            self.budget.spend()
            return call(moved)

    def _prove_rights(self) -> None:
        """Raise RightRefused unless both Inquire rights are granted; asked once a run."""
        with self._proving:
            if self._counts is None:
                self._counts = self.counts()
        for right, count in self._counts.items():
            if count is None:
                raise RightRefused(right)

    def _moved_from(self, client: ConnectWise) -> bool:
        """Look the base URL up again, at most once in 5 minutes; whether another one is in use now."""
        with self._lock:
            if self._client is not client:
                return True  # another call has found it meanwhile
            before, last = self.discovery.base_url, self.discovery.looked_up_at
            if last is not None and self.clock() - last < REDISCOVER_EVERY:
                return False
            self.look_up()
            return self.discovery.base_url != before

    def _credentials(self) -> Credentials:
        connection = self.connection
        try:
            private_key = unseal(
                SealedPrivateKey(key_id=connection.key_id or "-", box=connection.box or "-"),
                self.key_ring,
                public_key=connection.public_key or "",
                partner_id=connection.partner_id,
                company_identifier=connection.company_identifier or "",
                site_url=connection.site_url or "",
            )
        except (SealError, ValueError) as error:
            log.warning("key.unreadable", partner=connection.partner_id, key_id=connection.key_id, error=str(error))
            if isinstance(error, SealMismatch):
                raise KeyMismatch(str(error), [FIELDS[name] for name in error.names]) from error
            raise (SealKeyUnknown if isinstance(error, UnknownSealKey) else KeyUnreadable)(str(error)) from error
        return Credentials(
            company_identifier=connection.company_identifier or "",
            public_key=connection.public_key or "",
            private_key=private_key,
        )
