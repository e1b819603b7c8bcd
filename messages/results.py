"""What the worker answers, through the exchange `connectwise.sync`."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from messages.envelope import BillingPeriod, Code, Count, CwId, Day, Id, Message, Name, Part, Quantity, Text, UtcTime
from messages.events import CatalogKind

LineStatus = Literal[
    "updated", "unchanged", "preview", "held", "skipped", "superseded", "cancelled", "failed", "retrying"
]
SyncMode = Literal["apply", "preview", "revert"]
ConnectionStatus = Literal["ok", "failed"]
MappingStatus = Literal["complete", "incomplete", "invalid"]
RightState = Literal["granted", "denied", "unproven"]
Fixer = Literal["billing_coordinator", "connectwise_administrator", "phin_support", "nobody"]

FINAL: frozenset[LineStatus] = frozenset(get_args(LineStatus)) - {"retrying"}
"""The statuses after which a line of a push gets no other result."""


class Problem(Part):
    """What went wrong and what to do about it, in words that a billing coordinator understands.

    `where` is the path of the screen in ConnectWise, `link` the record there, `who` can fix it, and `said` are
    ConnectWise's own words.
    """

    code: Code
    title: Name
    detail: Text
    fix: Text
    where: Text | None = None
    who: Fixer | None = None
    said: Text | None = None
    link: Text | None = None


class Result(Message):
    """A message that the worker sends."""

    source: Name = "connectwise-worker"


class Right(Part):
    """A right of the security role, like `Companies > Company Maintenance: Inquire (All)`, and the row to change."""

    right: Name
    state: RightState
    fix: Text | None = None


class ConnectionChecked(Result):
    """What became of the connection saved at `changed_at`; it comes anew when that is checked again, or has changed.

    `causation_id` is the message that saved it, also if a check was asked for; only if none could be made, the request.
    `warnings` do not keep the connection from working, but some of its records.
    """

    type: Literal["connection.checked.v1"] = "connection.checked.v1"
    changed_at: UtcTime
    status: ConnectionStatus
    base_url: Text | None = None
    company_name: Name | None = None
    rights: Annotated[tuple[Right, ...], Field(strict=False)] = ()
    problem: Problem | None = None
    warnings: Annotated[tuple[Problem, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _failure_is_explained(self) -> Self:
        if self.status == "failed" and self.problem is None:
            raise ValueError("a failed connection needs a problem")
        return self


class Successor(Part):
    """The addition that has most likely taken the place of a mapped one; only a proposal."""

    agreement_id: CwId
    agreement_name: Name
    addition_id: CwId
    addition_name: Name
    quantity: Quantity | None = None


class AgreementTerm(Part):
    """The days for which an agreement is made, first and last inclusive, and its status when it was read.

    Each null if ConnectWise does not say; `end_date` also if the agreement has no ending.
    """

    status: Name | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    cancelled_date: Day | None = None


class MappingChecked(Result):
    """What ConnectWise says of the mapping saved at `changed_at`: the names of its records, the current quantity.

    `causation_id` is the message that saved it, also if a check was asked for.

    `product`: the identifier of the addition's product when the mapping was first checked. `successor`: what to map to
    instead, if the mapping has gone bad and one addition stands out. `warnings` do not make the mapping invalid.
    `agreement`: null if it was not read.
    """

    type: Literal["mapping.checked.v1"] = "mapping.checked.v1"
    company_id: Id
    changed_at: UtcTime
    status: MappingStatus
    problems: Annotated[tuple[Problem, ...], Field(strict=False)] = ()
    cw_company_name: Name | None = None
    agreement_name: Name | None = None
    addition_name: Name | None = None
    product: Name | None = None
    quantity: Quantity | None = None
    agreement: AgreementTerm | None = None
    warnings: Annotated[tuple[Problem, ...], Field(strict=False)] = ()
    successor: Successor | None = None

    @model_validator(mode="after")
    def _failure_is_explained(self) -> Self:
        if self.status == "invalid" and not self.problems:
            raise ValueError("an invalid mapping needs a problem")
        return self


class Choice(Part):
    """One entry of a drop-down. `problem`: why an agreement or addition cannot be billed now, null = it can.

    Of a company `detail` is its identifier. Of an agreement come type, status and dates, of an addition quantity,
    prices, product (its identifier) and dates; each null if ConnectWise does not say.
    """

    id: CwId
    name: Name
    detail: Text | None = None
    type: Name | None = None
    status: Name | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    product: Name | None = None
    quantity: Quantity | None = None
    unit_price: Quantity | None = None
    less_included: Quantity | None = None
    effective_date: Day | None = None
    cancelled_date: Day | None = None
    problem: Problem | None = None


class Suggestion(Part):
    """A ConnectWise company that a Phin company may be, best first; `score` 0 to 100, 100 = the same name.

    `reason` says what the names have in common: `exact`, `case`, `legal_form`, `similar` and others. `ambiguous`:
    another ConnectWise company fits as well, or this one another Phin company; of two with one name the identifier
    tells which is which. `certain`: may be accepted in bulk, without a look at it. `agreement` and `addition` are
    proposed only if one stands out.
    """

    company_id: Id
    cw_company_id: CwId
    cw_company_name: Name
    cw_company_identifier: Text | None = None
    score: Annotated[int | float, Field(ge=0, le=100)]
    reason: Code
    ambiguous: bool
    certain: bool
    agreement: Choice | None = None
    addition: Choice | None = None


class CatalogListed(Result):
    """One page of choices (of suggestions, if the kind is that), or the problem that there are none.

    A page has at most 100 choices, or the suggestions for 50 companies. `fetched_at`: when ConnectWise said so.
    """

    type: Literal["catalog.listed.v1"] = "catalog.listed.v1"
    kind: CatalogKind
    cw_company_id: CwId | None = None
    agreement_id: CwId | None = None
    search: Name | None = None
    page: Annotated[int, Field(ge=1)] = 1
    more: bool = False
    fetched_at: UtcTime | None = None
    choices: Annotated[tuple[Choice, ...], Field(strict=False)] = ()
    suggestions: Annotated[tuple[Suggestion, ...], Field(strict=False)] = ()
    problem: Problem | None = None


class SyncResult(Result):
    """What became of one line of a push, or of a revert: then `reverts` is the push that was taken back.

    Green check = updated or unchanged, unless it `reverts`: the period's count was taken out again.
    Newest by (period, requested_at, sequence), of those whose `mode` is not `preview`: a preview says what a push would
    do, and changes no status, whatever it found. `retrying` is not final and says when the next attempt is. `reasons`:
    all that a line is held for, of which `problem` is the first; a confirmation names their codes.

    In a preview also: `difference` = wanted - before; `amount` = (wanted - less_included) x unit_price, never below 0,
    in the agreement's currency; `amount_difference` = how much more that is than now; `warnings` hold nothing up.
    """

    type: Literal["sync.result.v1"] = "sync.result.v1"
    push_id: Id
    mode: SyncMode = "apply"
    reverts: Id | None = None
    company_id: Id
    period: BillingPeriod
    requested_at: UtcTime
    sequence: Annotated[int, Field(ge=0)]
    status: LineStatus
    quantity_before: Quantity | None = None
    quantity_wanted: Quantity | None = None
    quantity_after: Quantity | None = None
    attempts: Count = 0
    next_attempt_at: UtcTime | None = None
    unit_price: Quantity | None = None
    less_included: Quantity | None = None
    difference: Quantity | None = None
    amount: Quantity | None = None
    amount_difference: Quantity | None = None
    problem: Problem | None = None
    reasons: Annotated[tuple[Problem, ...], Field(strict=False, max_length=20)] = ()
    warnings: Annotated[tuple[Problem, ...], Field(strict=False, max_length=20)] = ()

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if (self.status == "retrying") != (self.next_attempt_at is not None):
            raise ValueError("next_attempt_at belongs to retrying, and only to that")
        if self.status in {"failed", "held", "skipped"} and self.problem is None:
            raise ValueError(f"a line that is {self.status} needs a problem")
        return self
