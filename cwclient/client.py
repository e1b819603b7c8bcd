"""The calls to ConnectWise that the billing needs, one HTTP call each: read records, and set one quantity."""

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cwclient import paging
from cwclient.errors import QuantityNotKept, QuestionRefused, RecordRefused, ServerTrouble
from cwclient.models import Addition, Agreement, Company, Count, Record, read
from cwclient.paging import MAX_PAGE_SIZE

if TYPE_CHECKING:
    from cwclient.transport import Transport

#: Omitted, the newest version would answer, whatever it has changed (connectwise-api.md 2.1).
ACCEPT = "application/vnd.connectwise.com+json; version={version}"
API_VERSION = "2025.8"
"""The newest version whose documents were compared with the code (connectwise-api.md 5)."""
#: connectwise-api.md 4.3: about 150 values advised for `in`.
MAX_IDS = 150
#: All that is read of a company, of which a list may have tens of thousands (connectwise-api.md 4.2).
COMPANY_FIELDS = "id,identifier,name,deletedFlag"

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Credentials:
    """API keys of a tenant. The private key is kept out of `repr`, and of the text of every error."""

    company_identifier: str
    public_key: str
    private_key: str = field(repr=False)

    def token(self) -> str:
        """`company+public:private` in Base64, for HTTP Basic authentication (connectwise-api.md 2.1)."""
        text = f"{self.company_identifier}+{self.public_key}:{self.private_key}"
        return base64.b64encode(text.encode()).decode()


def id_in(ids: Iterable[int], reference: str = "") -> str:
    """Condition for records of these ids, or whose `reference` (such as "company") has one of them.

    Conditions are made of ids alone, since no way to quote text is confirmed (connectwise-api.md 4.3).
    Raises ValueError for none, or for more than 150 of them.
    """
    numbers = sorted({int(i) for i in ids})
    if not 1 <= len(numbers) <= MAX_IDS:
        raise ValueError(f"a condition takes 1 to {MAX_IDS} ids, not {len(numbers)}")
    name = f"{reference}/id" if reference else "id"
    return f"{name}={numbers[0]}" if len(numbers) == 1 else f"{name} in ({','.join(map(str, numbers))})"


class ConnectWise:
    """The API of one tenant. Safe from several threads at once, as far as its transport is.

    Every method raises the errors of `cwclient.errors`; an answer of another shape than asked for is ServerTrouble.
    `version` is the API version that is asked for, year and release.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        client_id: str,
        transport: "Transport",
        version: str = API_VERSION,
    ) -> None:
        self.version = version
        self.base_url = base_url.rstrip("/")
        self._transport = transport
        token = credentials.token()
        self._secrets = (token, credentials.private_key)
        self._headers = {
            "Authorization": f"Basic {token}",
            "clientId": client_id,
            "Accept": ACCEPT.format(version=version),
        }

    def count_companies(self) -> int:
        """Count the companies; proves Companies > Company Maintenance: Inquire (connectwise-api.md 4.1)."""
        return self._count("company/companies/count")

    def count_agreements(self) -> int:
        """Count the agreements; proves Finance > Agreements: Inquire, but not Edit (connectwise-api.md 4.1)."""
        return self._count("finance/agreements/count")

    def companies(
        self,
        conditions: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
        before_next: Callable[[], object] | None = None,
    ) -> Iterator[Company]:
        """Companies by id, fetched page by page as they are used; deleted ones too unless `deletedFlag=false`.

        `before_next` is called before the request of each page but the first, here and below; what it raises ends it.
        """
        return self._list(Company, "company/companies", conditions, page_size, before_next, COMPANY_FIELDS)

    def visible_agreements(self, ids: Iterable[int]) -> set[int]:
        """Return those of these ids (1 to 150) whose agreements the role sees; it omits other types, with no error."""
        return {agreement.id for agreement in self._list(Agreement, "finance/agreements", id_in(ids))}

    def agreements(self, *company_ids: int, before_next: Callable[[], object] | None = None) -> Iterator[Agreement]:
        """Agreements of 1 to 150 companies, in every status.

        Fewer, with no error, if the role is limited to some types.
        """
        conditions = id_in(company_ids, "company")
        return self._list(Agreement, "finance/agreements", conditions, before_next=before_next)

    def additions(self, agreement_id: int, before_next: Callable[[], object] | None = None) -> Iterator[Addition]:
        """Additions of an agreement, in every status (connectwise-api.md 5.2)."""
        return self._list(Addition, f"finance/agreements/{agreement_id:d}/additions", before_next=before_next)

    def company(self, company_id: int) -> Company:
        """One company."""
        return _record(Company, company_id, self._get(f"company/companies/{company_id:d}"))

    def agreement(self, agreement_id: int) -> Agreement:
        """One agreement."""
        return _record(Agreement, agreement_id, self._get(f"finance/agreements/{agreement_id:d}"))

    def addition(self, agreement_id: int, addition_id: int, seconds: float | None = None) -> Addition:
        """One addition, by one GET that takes so many seconds at most, if that is less than the transport's budget."""
        return _record(Addition, addition_id, self._get(_addition_path(agreement_id, addition_id), seconds))

    def set_quantity(
        self, agreement_id: int, addition_id: int, quantity: float, seconds: float | None = None
    ) -> Addition:
        """Set the quantity of an addition, and nothing else, by one PATCH; return the addition as it then is.

        It takes so many `seconds` at most, if that is less than the transport's budget.

        Raises QuantityNotKept if another quantity comes back, as a 200 may change nothing (connectwise-api.md 6.1);
        Unreachable and ServerTrouble say by `sent` whether it may have been applied; ValueError for a quantity that
        is negative or not finite, of which nothing is known (connectwise-api.md 6.3).
        """
        if not math.isfinite(quantity) or quantity < 0:
            raise ValueError(f"{quantity} is no quantity")
        value = int(quantity) if quantity == int(quantity) else quantity
        # An array of operations, its path without a slash and case-sensitive (connectwise-api.md 6.1).
        patch = [{"op": "replace", "path": "quantity", "value": value}]
        url = f"{self.base_url}/{_addition_path(agreement_id, addition_id)}"
        response = self._transport.request("PATCH", url, headers=self._headers, json=patch, seconds=seconds)
        addition = _record(Addition, addition_id, response.json(self._secrets))
        if addition.quantity != quantity:
            raise QuantityNotKept(quantity, addition.quantity)
        return addition

    def _get(self, path: str, seconds: float | None = None) -> object:
        return self._ask(f"{self.base_url}/{path}", seconds)[0]

    def _ask(self, url: str, seconds: float | None = None) -> tuple[object, Mapping[str, str]]:
        response = self._transport.request("GET", url, headers=self._headers, seconds=seconds)
        try:
            return response.json(self._secrets), response.headers
        except RecordRefused as error:
            raise QuestionRefused(error) from error

    def _count(self, path: str) -> int:
        return read(Count, self._get(path)).count

    def _list(
        self,
        model: type[R],
        path: str,
        conditions: str | None = None,
        page_size: int = MAX_PAGE_SIZE,
        before_next: Callable[[], object] | None = None,
        fields: str | None = None,
    ) -> Iterator[R]:
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise ValueError(f"page_size must be 1 to {MAX_PAGE_SIZE}, not {page_size}")
        query = {"orderBy": "id", "pageSize": str(page_size)}
        query |= {name: value for name, value in (("conditions", conditions), ("fields", fields)) if value}
        before_next = before_next or (lambda: None)
        return paging.records(model, f"{self.base_url}/{path}", query, ask=self._ask, before_next=before_next)


def _addition_path(agreement_id: int, addition_id: int) -> str:
    return f"finance/agreements/{agreement_id:d}/additions/{addition_id:d}"


def _record(model: type[R], record_id: int, value: object) -> R:
    record = read(model, value)
    if record.id != record_id:
        message = f"ConnectWise answered with {model.__name__} {record.id} instead of {record_id}."
        raise ServerTrouble(message, sent=True, status=200)
    return record
