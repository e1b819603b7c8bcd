"""Questions for the choices of a drop-down, and their answers."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from messages.envelope import Part
from messages.events import Event, once_each
from messages.results import Problem, Result
from messages.values import MAX_LINES, WHOLE, CwId, Name, Text, Words
from messages.vocabulary import (
    AgreementId,
    At,
    CompanyId,
    CompanyName,
    CwCompanyId,
    CwCompanyName,
    FirstDay,
    LastDay,
    Money,
    Product,
    Reason,
    Units,
)

CatalogKind = Literal["companies", "agreements", "additions", "suggestions"]

ReplyTo = Annotated[
    str,
    StringConstraints(max_length=255, pattern=r"^(phin\.|amq\.gen-)[A-Za-z0-9._\-]+$"),
    Words.like("phin.portal-answers"),
]
"""A queue that an answer may go to: one of the platform's, or one that the broker named."""

Score = Annotated[
    int | float,
    Field(ge=0, le=100),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100}),
    Words.like(97.5, "of 100, which is the same name"),
]
Search = Annotated[Name, Words.like("acme")]
Page = Annotated[int, Field(ge=1, le=MAX_LINES), WHOLE, Words.like(1)]


class PhinCompany(Part):
    """A company to find a ConnectWise company for."""

    company_id: CompanyId
    """The company's id in Phin."""
    company_name: CompanyName
    """The company's name in Phin, by which ConnectWise companies are suggested."""


def _asks(kind: CatalogKind, **needs: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    own = {} if kind == "suggestions" else {"companies": {"type": "array", "maxItems": 0}}
    return {"properties": {"kind": {"const": kind}, **own, **needs}, "required": ["kind", *needs]}


class CatalogRequested(Event):
    """A question for the choices of a drop-down; `catalog.listed.v1` answers it with one page.

    `agreements` needs cw_company_id, `additions` needs agreement_id.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _asks("companies"),
                _asks("agreements", cw_company_id={"type": "integer"}),
                _asks("additions", agreement_id={"type": "integer"}),
                _asks("suggestions"),
            ]
        }
    )

    type: Literal["catalog.requested.v1"] = "catalog.requested.v1"
    kind: CatalogKind
    """The kind of choices."""
    cw_company_id: CwCompanyId | None = None
    """The company in ConnectWise whose agreements are asked for."""
    agreement_id: AgreementId | None = None
    """The agreement whose additions are asked for."""
    search: Search | None = None
    """Only choices that have this in their name, whatever its capitals."""
    page: Page = 1
    """The page, counted from 1."""
    refresh: bool = False
    """`true` = ask ConnectWise, even if the answer was read from it some minutes ago."""
    companies: Annotated[tuple[PhinCompany, ...], Field(strict=False, max_length=MAX_LINES)] = ()
    """For suggestions: these companies, each once; with none, those whose mapping was begun or removed."""
    reply_to: ReplyTo | None = None
    """The queue that gets the answer; null = it goes to the exchange `connectwise.sync`."""

    @model_validator(mode="after")
    def _has_its_parent(self) -> Self:
        if self.kind == "agreements" and self.cw_company_id is None:
            raise ValueError("agreements need cw_company_id")
        if self.kind == "additions" and self.agreement_id is None:
            raise ValueError("additions need agreement_id")
        if self.companies and self.kind != "suggestions":
            raise ValueError("companies are for suggestions only")
        once_each((company.company_id for company in self.companies), "in companies, company")
        return self


class Choice(Part):
    """One entry of a drop-down. What ConnectWise does not say is null."""

    id: Annotated[CwId, Words.like(7)]
    """The id of the record in ConnectWise."""
    name: Annotated[Name, Words.like("Managed Services")]
    """Its name."""
    detail: Annotated[Text, Words.like("AcmeDental")] | None = None
    """Of a company: its identifier."""
    type: Annotated[Name, Words.like("Managed Services")] | None = None
    """Of an agreement: its type."""
    status: Annotated[Name, Words.like("Active")] | None = None
    """Of an agreement: its status."""
    start_date: FirstDay | None = None
    """Of an agreement: its first day."""
    end_date: LastDay | None = None
    """Of an agreement: its last day."""
    product: Product | None = None
    """Of an addition: the identifier of its product."""
    quantity: Units | None = None
    """Of an addition: what it holds."""
    unit_price: Money | None = None
    """Of an addition: the price of one unit."""
    less_included: Units | None = None
    """Of an addition: the units that it includes, which are not billed."""
    effective_date: FirstDay | None = None
    """Of an addition: the day from which it is billed."""
    cancelled_date: LastDay | None = None
    """Of an addition: the day on which it was cancelled."""
    problem: Problem | None = None
    """The reason that an agreement or addition cannot be billed now; null = it can."""


class Suggestion(Part):
    """A ConnectWise company that a Phin company may be, best first."""

    company_id: CompanyId
    """The company's id in Phin."""
    cw_company_id: CwCompanyId
    """The id of the company in ConnectWise."""
    cw_company_name: CwCompanyName
    """Its name there."""
    cw_company_identifier: Annotated[Text, Words.like("AcmeDental")] | None = None
    """Its identifier there, which tells two of one name apart."""
    score: Score
    """The degree to which the names are alike."""
    reason: Annotated[Reason, Words.like("legal_form")]
    """The likeness of the names that led to it: `exact`, `case`, `legal_form`, `similar` and others."""
    ambiguous: bool
    """`true` = another ConnectWise company fits as well, or another Phin company fits this one."""
    certain: bool
    """`true` = it may be accepted in bulk, without a look at it."""
    agreement: Choice | None = None
    """The agreement to map to, if one stands out."""
    addition: Choice | None = None
    """The addition to map to, if one stands out."""


class CatalogListed(Result):
    """One page of choices (of suggestions, if the kind is that), or the problem that there are none.

    A page has at most 100 choices, or the suggestions for 50 companies.
    """

    type: Literal["catalog.listed.v1"] = "catalog.listed.v1"
    kind: CatalogKind
    """The kind that was asked for."""
    cw_company_id: CwCompanyId | None = None
    """The company in ConnectWise that was asked for."""
    agreement_id: AgreementId | None = None
    """The agreement that was asked for."""
    search: Search | None = None
    """The words that were searched for."""
    page: Page = 1
    """The page, counted from 1."""
    more: bool = False
    """`true` = there is a page after this one."""
    fetched_at: At | None = None
    """When ConnectWise said so."""
    choices: Annotated[tuple[Choice, ...], Field(strict=False)] = ()
    """The choices, by name."""
    suggestions: Annotated[tuple[Suggestion, ...], Field(strict=False)] = ()
    """The suggestions, by company, the best first."""
    problem: Problem | None = None
    """The reason that there is no answer; null = there is."""
