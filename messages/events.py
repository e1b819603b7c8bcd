"""Events that the Phin platform sends through the exchange `phin.billing`. Questions for choices are in catalog.py."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from messages.envelope import BillingPeriod, Message, Part
from messages.sealing import SealedPrivateKey
from messages.values import MAX_LINES, Count, Id, Text, Words
from messages.vocabulary import (
    AdditionId,
    AgreementId,
    Changed,
    CompanyId,
    CompanyName,
    CwCompanyId,
    PersonName,
    PushId,
    Reason,
    RevertId,
    Source,
    Units,
    Users,
)

PushMode = Literal["apply", "preview"]
SharingRule = Literal["refuse", "sum"]


def _certificates(pem: str) -> str:
    if "PRIVATE KEY-----" in pem:
        raise ValueError("holds a private key: send only certificates")
    if not pem.isascii() or "\0" in pem or "-----BEGIN CERTIFICATE-----" not in pem:
        raise ValueError("is not a PEM text of certificates")
    return pem


CaBundle = Annotated[
    str,
    StringConstraints(max_length=64 * 1024),
    AfterValidator(_certificates),
    Words.like("-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n".replace("…", "...")),
    Words(
        {
            "pattern": r"^[\u0001-\u007f]*-----BEGIN CERTIFICATE-----[\u0001-\u007f]*$",
            "not": {"pattern": "PRIVATE KEY-----"},
        }
    ),
]
"""Certificates of a private certificate authority, PEM, at most 64 KiB."""

CompanyIds = Annotated[tuple[CompanyId, ...], Field(strict=False, min_length=1, max_length=MAX_LINES)]


def once_each(items: Iterable[str], what: str) -> None:
    """Raise ValueError if an item is there twice. Positions are counted from 0, as in the paths of other errors."""
    seen: dict[str, int] = {}
    for position, item in enumerate(items):
        if (first := seen.setdefault(item, position)) != position:
            raise ValueError(f"{what} {item!r} is there twice: at {first} and {position}")


class Event(Message):
    """A message that the platform sends."""

    source: Source = "phin"


_CONNECTED = ("site_url", "company_identifier", "public_key", "sealed_private_key")


class ConnectionChanged(Event):
    """A partner saved its ConnectWise connection, or, with `disconnected`, removed it (a tombstone).

    Connected: all four of site_url, company_identifier, public_key and sealed_private_key (see `seal`).
    Disconnected: none of them. The newest `changed_at` counts.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {
                        "disconnected": {"const": False},
                        **{name: {"not": {"type": "null"}} for name in _CONNECTED},
                    },
                    "required": list(_CONNECTED),
                },
                {
                    "properties": {
                        "disconnected": {"const": True},
                        **{name: {"type": "null"} for name in (*_CONNECTED, "ca_bundle")},
                    },
                    "required": ["disconnected"],
                },
            ]
        }
    )

    type: Literal["connection.changed.v1"] = "connection.changed.v1"
    changed_at: Changed
    """When it was saved; the newest counts, and a mapping or push names it. At most 5 minutes in the future."""
    disconnected: bool = False
    """`true` = the connection was removed."""
    site_url: Annotated[Text, Words.like("https://na.myconnectwise.net")] | None = None
    """The URL by which people log in to ConnectWise, or its host."""
    company_identifier: Annotated[Id, Words.like("acmemsp")] | None = None
    """The Company ID by which people log in to ConnectWise."""
    public_key: Annotated[Id, Words.like("Demo4PublicKey")] | None = None
    """The Public Key of the API member."""
    sealed_private_key: SealedPrivateKey | None = None
    """The Private Key of the API member, sealed to the worker's public seal key and to this partner and connection."""
    ca_bundle: CaBundle | None = None
    """Certificates in PEM of the authority of a ConnectWise server with a certificate of its own."""

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
    requested_at: Changed
    """When the check was asked for. At most 5 minutes in the future."""
    requested_by: PersonName
    """The person who asked for it."""


class MappingChanged(Event):
    """A company's ConnectWise company, agreement and addition, filled in from left to right; none = unmapped."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"agreement_id": {"type": "null"}, "addition_id": {"type": "null"}}},
                {
                    "properties": {"cw_company_id": {"type": "integer"}, "agreement_id": {"type": "integer"}},
                    "required": ["cw_company_id", "agreement_id"],
                },
            ]
        }
    )

    type: Literal["mapping.changed.v1"] = "mapping.changed.v1"
    changed_at: Changed
    """When it was saved; of a company the newest counts, and a push names it. At most 5 minutes in the future."""
    company_id: CompanyId
    """The company's id in Phin."""
    company_name: CompanyName
    """The company's name in Phin."""
    cw_company_id: CwCompanyId | None = None
    """The id of the company in ConnectWise; null = unmapped."""
    agreement_id: AgreementId | None = None
    """The id of an agreement of that company."""
    addition_id: AdditionId | None = None
    """The id of the addition of that agreement whose quantity is set."""
    rule: SharingRule = "refuse"
    """If several companies are mapped to one addition: `refuse` all of them, or `sum` their users."""
    minimum: Annotated[Count, Words.like(10, "users")] | None = None
    """So many users are billed at least."""
    allow_not_billable: bool = False
    """`true` = write also an addition that is not Billable in ConnectWise, but counted for its cost only."""

    @model_validator(mode="after")
    def _from_left_to_right(self) -> Self:
        if self.addition_id is not None and self.agreement_id is None:
            raise ValueError("an addition_id needs its agreement_id")
        if self.agreement_id is not None and self.cw_company_id is None:
            raise ValueError("an agreement_id needs its cw_company_id")
        return self


class MappingCheckRequested(Event):
    """Compare mappings with ConnectWise again: a `mapping.checked.v1` for each named company, or each mapped one."""

    type: Literal["mapping.check_requested.v1"] = "mapping.check_requested.v1"
    requested_at: Changed
    """When the check was asked for. At most 5 minutes in the future."""
    requested_by: PersonName
    """The person who asked for it."""
    company_ids: CompanyIds | None = None
    """The companies whose mappings are to be checked, by their ids in Phin; null = all that are mapped."""


class Confirmation(Part):
    """The coordinator has seen why a line was held, at this quantity in ConnectWise, and wants it all the same."""

    company_id: CompanyId
    """The company whose line was held."""
    reasons: Annotated[tuple[Reason, ...], Field(strict=False, min_length=1, max_length=20)]
    """The codes of all `reasons` of the held result."""
    quantity_before: Units
    """The `quantity_before` of the held result."""
    quantity_wanted: Units | None = None
    """Only for this quantity of the addition, as the held result told it; null = whatever is asked."""


class PushLine(Part):
    """One company's billable users."""

    company_id: CompanyId
    """The company's id in Phin; once in a push."""
    company_name: CompanyName
    """The company's name in Phin."""
    billable_users: Users
    """The company's billable users in the period."""
    mapping_changed_at: Changed | None = None
    """The `changed_at` of the mapping that the sender saw: the line waits for it. Null = whatever is there."""


class PushRequested(Event):
    """Set the quantities of a billing period (`apply`), or say what that would do (`preview`)."""

    type: Literal["push.requested.v1"] = "push.requested.v1"
    push_id: PushId
    """Names the push in all its answers; each push has its own."""
    period: BillingPeriod
    """The billing period that the users are of."""
    requested_at: Changed
    """When it was asked for: for one company and period the newest wins. At most 5 minutes in the future."""
    requested_by: PersonName
    """The person who wants it; kept with the push."""
    mode: PushMode
    """`apply` sets quantities, `preview` says what that would do and leaves no trace."""
    connection_changed_at: Changed | None = None
    """The `changed_at` of the connection that the sender saw: lines wait for it. Null = whatever is there."""
    confirmations: Annotated[tuple[Confirmation, ...], Field(strict=False, max_length=MAX_LINES)] = ()
    """Let through what was held before; each company once."""
    lines: Annotated[tuple[PushLine, ...], Field(strict=False, min_length=1, max_length=MAX_LINES)]
    """The companies and their users; each company once."""

    @model_validator(mode="after")
    def _a_company_once(self) -> Self:
        once_each((line.company_id for line in self.lines), "in lines, company")
        once_each((confirmation.company_id for confirmation in self.confirmations), "in confirmations, company")
        return self


class PushCancelRequested(Event):
    """Stop a push: its lines that are not settled yet become `cancelled`."""

    type: Literal["push.cancel_requested.v1"] = "push.cancel_requested.v1"
    push_id: PushId
    """The push, or the revert, that is to be stopped; it may arrive later than this."""
    requested_at: Changed
    """When it was asked for. At most 5 minutes in the future."""
    requested_by: PersonName
    """The person who wants it."""


class RevertRequested(Event):
    """Put back what additions held before a push, where they still hold what it wrote.

    A push of its own, for the same period: `revert_id` is the `push_id` of its results and of its completion.
    """

    type: Literal["revert.requested.v1"] = "revert.requested.v1"
    revert_id: RevertId
    """Names the revert, as the `push_id` of all its answers; each has its own."""
    push_id: PushId
    """The push that is to be taken back."""
    requested_at: Changed
    """When it was asked for; it is ordered among pushes by this. At most 5 minutes in the future."""
    requested_by: PersonName
    """The person who wants it."""
    company_ids: Annotated[CompanyIds, Words({"uniqueItems": True})] | None = None
    """Only these companies, each once; null = all that the push wrote."""

    @model_validator(mode="after")
    def _a_company_once(self) -> Self:
        once_each(self.company_ids or (), "in company_ids, company")
        return self
