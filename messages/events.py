"""What the Phin platform sends, through the exchange `phin.billing`."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from messages.envelope import (
    MAX_LINES,
    BillingPeriod,
    Code,
    Count,
    CwId,
    Id,
    Message,
    Name,
    Part,
    Quantity,
    Text,
    Version,
)
from messages.sealing import SealedPrivateKey

CatalogKind = Literal["companies", "agreements", "additions", "suggestions"]
PushMode = Literal["apply", "preview"]
SharingRule = Literal["refuse", "sum"]


def _certificates(pem: str) -> str:
    if not pem.isascii() or "\0" in pem or "-----BEGIN CERTIFICATE-----" not in pem:
        raise ValueError("is not a PEM text of certificates")
    if "PRIVATE KEY-----" in pem:
        raise ValueError("holds a private key: send only certificates")
    return pem


ReplyTo = Annotated[str, StringConstraints(max_length=255, pattern=r"^(phin\.|amq\.gen-)[A-Za-z0-9._\-]+$")]
"""A queue that an answer may go to: one of the platform's, or one that the broker named."""

CaBundle = Annotated[str, StringConstraints(max_length=64 * 1024), AfterValidator(_certificates)]
"""Certificates of a private certificate authority, PEM, at most 64 KiB."""


def _once_each(items: Iterable[str], what: str) -> None:
    # Positions are counted from 0, as in the paths of other errors.
    seen: dict[str, int] = {}
    for position, item in enumerate(items):
        if (first := seen.setdefault(item, position)) != position:
            raise ValueError(f"{what} {item!r} is there twice: at {first} and {position}")


class Event(Message):
    """A message that the platform sends."""

    source: Name = "phin"


class ConnectionChanged(Event):
    """A partner saved its ConnectWise connection, or, with `disconnected`, removed it (a tombstone).

    Connected: all four of site_url, company_identifier, public_key and sealed_private_key (see `seal`).
    Disconnected: none of them. The newest `changed_at` counts.
    """

    type: Literal["connection.changed.v1"] = "connection.changed.v1"
    changed_at: Version
    disconnected: bool = False
    site_url: Text | None = None
    company_identifier: Id | None = None
    public_key: Id | None = None
    sealed_private_key: SealedPrivateKey | None = None
    ca_bundle: CaBundle | None = None

    @model_validator(mode="after")
    def _all_or_nothing(self) -> Self:
        required = (self.site_url, self.company_identifier, self.public_key, self.sealed_private_key)
        if self.disconnected and any(value is not None for value in (*required, self.ca_bundle)):
            raise ValueError("a disconnected connection carries no site, keys or certificates")
        if not self.disconnected and any(value is None for value in required):
            raise ValueError("a connection needs site_url, company_identifier, public_key and sealed_private_key")
        return self


class ConnectionCheckRequested(Event):
    """Check the connection that is saved again now; `connection.checked.v1` answers it."""

    type: Literal["connection.check_requested.v1"] = "connection.check_requested.v1"
    requested_at: Version
    requested_by: Name


class MappingChanged(Event):
    """A company's ConnectWise company, agreement and addition, filled in from left to right; none = unmapped.

    `allow_not_billable`: an addition that is not Billable in ConnectWise, counted for its cost only, is written too.
    """

    type: Literal["mapping.changed.v1"] = "mapping.changed.v1"
    changed_at: Version
    company_id: Id
    company_name: Name
    cw_company_id: CwId | None = None
    agreement_id: CwId | None = None
    addition_id: CwId | None = None
    rule: SharingRule = "refuse"
    minimum: Count | None = None
    allow_not_billable: bool = False

    @model_validator(mode="after")
    def _from_left_to_right(self) -> Self:
        if self.addition_id is not None and self.agreement_id is None:
            raise ValueError("an addition_id needs its agreement_id")
        if self.agreement_id is not None and self.cw_company_id is None:
            raise ValueError("an agreement_id needs its cw_company_id")
        return self


class MappingCheckRequested(Event):
    """Compare mappings with ConnectWise again, null = all: a `mapping.checked.v1` for each company that is mapped."""

    type: Literal["mapping.check_requested.v1"] = "mapping.check_requested.v1"
    requested_at: Version
    requested_by: Name
    company_ids: Annotated[tuple[Id, ...], Field(strict=False, min_length=1, max_length=MAX_LINES)] | None = None


class PhinCompany(Part):
    """A company to find a ConnectWise company for."""

    company_id: Id
    company_name: Name


class CatalogRequested(Event):
    """A question for the choices of a drop-down; `catalog.listed.v1` answers it with one page.

    `agreements` needs cw_company_id, `additions` needs agreement_id. `suggestions` are made for `companies`; with none,
    for those whose mapping was begun or removed. `refresh`: ask ConnectWise, whatever was read some minutes ago. The
    answer goes to the queue `reply_to`, with none to the exchange `connectwise.sync`.
    """

    type: Literal["catalog.requested.v1"] = "catalog.requested.v1"
    kind: CatalogKind
    cw_company_id: CwId | None = None
    agreement_id: CwId | None = None
    search: Name | None = None
    page: Annotated[int, Field(ge=1, le=MAX_LINES)] = 1
    refresh: bool = False
    companies: Annotated[tuple[PhinCompany, ...], Field(strict=False, max_length=MAX_LINES)] = ()
    reply_to: ReplyTo | None = None

    @model_validator(mode="after")
    def _has_its_parent(self) -> Self:
        if self.kind == "agreements" and self.cw_company_id is None:
            raise ValueError("agreements need cw_company_id")
        if self.kind == "additions" and self.agreement_id is None:
            raise ValueError("additions need agreement_id")
        if self.companies and self.kind != "suggestions":
            raise ValueError("companies are for suggestions only")
        _once_each((company.company_id for company in self.companies), "in companies, company")
        return self


class Confirmation(Part):
    """The coordinator has seen why a line was held, at this quantity in ConnectWise, and wants it all the same.

    `quantity_wanted`: only for this quantity of the addition, as the held result told it; null = whatever is asked.
    """

    company_id: Id
    reasons: Annotated[tuple[Code, ...], Field(strict=False, min_length=1, max_length=20)]
    quantity_before: Quantity
    quantity_wanted: Quantity | None = None


class PushLine(Part):
    """One company's billable users; `mapping_changed_at`: the mapping that the sender saw, null = whatever is there."""

    company_id: Id
    company_name: Name
    billable_users: Count
    mapping_changed_at: Version | None = None


class PushRequested(Event):
    """Set the quantities of a billing period (`apply`), or say what that would do (`preview`).

    `requested_at` orders the wishes: for one company and period the newest wins. `connection_changed_at` is the
    connection that the sender saw, null = whatever is there. Lines: 1 to 10,000, a company once.
    """

    type: Literal["push.requested.v1"] = "push.requested.v1"
    push_id: Id
    period: BillingPeriod
    requested_at: Version
    requested_by: Name
    mode: PushMode
    connection_changed_at: Version | None = None
    confirmations: Annotated[tuple[Confirmation, ...], Field(strict=False, max_length=MAX_LINES)] = ()
    lines: Annotated[tuple[PushLine, ...], Field(strict=False, min_length=1, max_length=MAX_LINES)]

    @model_validator(mode="after")
    def _a_company_once(self) -> Self:
        _once_each((line.company_id for line in self.lines), "in lines, company")
        _once_each((confirmation.company_id for confirmation in self.confirmations), "in confirmations, company")
        return self


class PushCancelRequested(Event):
    """Stop a push: its lines that are not settled yet become `cancelled`."""

    type: Literal["push.cancel_requested.v1"] = "push.cancel_requested.v1"
    push_id: Id
    requested_at: Version
    requested_by: Name


class RevertRequested(Event):
    """Put back what additions held before a push, where they still hold what it wrote; company_ids null = all of it.

    A push of its own, for the same period: `revert_id` is the `push_id` of its results and of its completion.
    """

    type: Literal["revert.requested.v1"] = "revert.requested.v1"
    revert_id: Id
    push_id: Id
    requested_at: Version
    requested_by: Name
    company_ids: Annotated[tuple[Id, ...], Field(strict=False, min_length=1, max_length=MAX_LINES)] | None = None

    @model_validator(mode="after")
    def _a_company_once(self) -> Self:
        _once_each(self.company_ids or (), "in company_ids, company")
        return self
