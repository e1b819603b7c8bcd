"""The worker's answers about connections and mappings: the findings of each check."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from messages.envelope import Part
from messages.results import Problem, Result, explained
from messages.values import Name, Text, Words
from messages.vocabulary import (
    AdditionId,
    AdditionName,
    AgreementId,
    AgreementName,
    At,
    CompanyId,
    CwCompanyName,
    FirstDay,
    LastDay,
    Product,
    ProductId,
    Units,
)

ConnectionStatus = Literal["ok", "failed"]
MappingStatus = Literal["complete", "incomplete", "invalid"]
RightState = Literal["granted", "denied", "unproven"]

_RIGHT_FIX = "In ConnectWise, System > Security Roles: set Companies > Company Maintenance > Inquire to All."


class Right(Part):
    """A right of the API member's security role."""

    right: Annotated[Name, Words.like("Companies > Company Maintenance: Inquire (All)")]
    """The module, the row and the level in ConnectWise's security roles."""
    state: Annotated[RightState, Words.like("denied")]
    """`granted` = ConnectWise grants it; `denied` = it does not; `unproven` = nothing but a write would tell."""
    fix: Annotated[Text, Words.like(_RIGHT_FIX)] | None = None
    """The row of the security role to change."""


class ConnectionChecked(Result):
    """The check of the connection saved at `changed_at`; it comes anew when that is checked again, or has changed.

    `causation_id` is the message that saved it, also if a check was asked for; only if none could be made, the request.
    """

    model_config = explained("failed", "problem", {"type": "null"})

    type: Literal["connection.checked.v1"] = "connection.checked.v1"
    changed_at: At
    """The `changed_at` of the connection that this is about."""
    status: ConnectionStatus
    """`ok` = pushes can be made with this connection; `failed` = they cannot."""
    base_url: Annotated[Text, Words.like("https://api-na.myconnectwise.net/v2025_1/apis/3.0")] | None = None
    """Where ConnectWise's API was found."""
    company_name: CwCompanyName | None = None
    """The name of the managed service provider in its ConnectWise."""
    rights: Annotated[tuple[Right, ...], Field(strict=False)] = ()
    """The rights that pushes need; empty = the check did not come so far."""
    problem: Problem | None = None
    """The problem that keeps the connection from working."""
    warnings: Annotated[tuple[Problem, ...], Field(strict=False)] = ()
    """The problems that keep some records of the connection from working, but not the connection itself."""

    @model_validator(mode="after")
    def _failure_is_explained(self) -> Self:
        if self.status == "failed" and self.problem is None:
            raise ValueError("a failed connection needs a problem")
        return self


class Successor(Part):
    """The addition that has most likely taken the place of a mapped one; only a proposal."""

    agreement_id: AgreementId
    """The id of its agreement."""
    agreement_name: AgreementName
    """The name of its agreement."""
    addition_id: AdditionId
    """The id of the addition."""
    addition_name: AdditionName
    """The name of the addition."""
    quantity: Units | None = None
    """The quantity that the addition holds."""


class AgreementTerm(Part):
    """The days for which an agreement is made, both inclusive, and its status when it was read.

    Each null if ConnectWise does not say.
    """

    status: Annotated[Name, Words.like("Active")] | None = None
    """Its status."""
    start_date: FirstDay | None = None
    """Its first day."""
    end_date: LastDay | None = None
    """Its last day; null also if it has no ending."""
    cancelled_date: LastDay | None = None
    """The day on which it was cancelled."""


class MappingChecked(Result):
    """The check of the mapping saved at `changed_at`: ConnectWise's names of its records, the current quantity.

    `causation_id` is the message that saved it, also if a check was asked for; of a company without a mapping it is the
    question.
    """

    model_config = explained("invalid", "problems", {"type": "array", "maxItems": 0})

    type: Literal["mapping.checked.v1"] = "mapping.checked.v1"
    company_id: CompanyId
    """The company whose mapping this is about."""
    changed_at: At
    """The `changed_at` of the mapping that this is about."""
    status: MappingStatus
    """`complete` = it can bill the company; `incomplete` = something is not chosen yet; `invalid` = it cannot."""
    problems: Annotated[tuple[Problem, ...], Field(strict=False)] = ()
    """The problems that make the mapping invalid."""
    cw_company_name: CwCompanyName | None = None
    """The name of the company in ConnectWise."""
    agreement_name: AgreementName | None = None
    """The name of the agreement."""
    addition_name: AdditionName | None = None
    """The name of the addition."""
    product: Product | None = None
    """The identifier of the addition's product: of the one that the mapping was made for, if it is another by now."""
    product_id: ProductId | None = None
    """The id of that product, which it keeps when it is renamed."""
    quantity: Units | None = None
    """The quantity that the addition holds."""
    billable: bool | None = None
    """False = the addition's Bill setting is not Billable, so ConnectWise bills nothing; null = it was not read."""
    agreement: AgreementTerm | None = None
    """The days of the agreement; null = it was not read."""
    warnings: Annotated[tuple[Problem, ...], Field(strict=False)] = ()
    """The problems that leave the mapping valid, but are worth a look."""
    successor: Successor | None = None
    """The addition to map to instead, if the mapping has gone bad and one stands out."""

    @model_validator(mode="after")
    def _failure_is_explained(self) -> Self:
        if self.status == "invalid" and not self.problems:
            raise ValueError("an invalid mapping needs a problem")
        return self
