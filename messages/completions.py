"""The end of a push: its lines as a sum that closes, and the mapped companies that were not in it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from messages.envelope import BillingPeriod, Part
from messages.results import Problem, Result, SyncMode, explained
from messages.values import MAX_COUNT, MAX_LINES, WHOLE, Words
from messages.vocabulary import Companies, CompanyId, CompanyName, Lines, PushId, Units, Users

PushStatus = Literal["completed", "refused", "cancelled"]

NAMED = 1_000
"""So many absent companies are named in a message; all are counted."""


class LineCounts(Part):
    """The number of lines of a push that ended in each final status."""

    updated: Lines = 0
    """Their quantity was written."""
    unchanged: Lines = 0
    """ConnectWise held their quantity already."""
    preview: Lines = 0
    """A push would write their quantity, or find it."""
    held: Lines = 0
    """They wait to be confirmed in another push."""
    skipped: Lines = 0
    """Their company is not mapped; in a revert, the push had not written it."""
    superseded: Lines = 0
    """A newer push took their place."""
    cancelled: Lines = 0
    """The push was stopped before they were written."""
    failed: Lines = 0
    """They could not be written."""


class Tally(Part):
    """So many companies, with so many billable users in all."""

    companies: Companies = 0
    """The number of companies."""
    users: Annotated[int, Field(ge=0, le=MAX_COUNT * MAX_LINES), WHOLE, Words.like(42, "users")] = 0
    """Their billable users in all."""


NOTHING = Tally()


class Totals(Part):
    """The lines of a push as a sum: `imported` = all the others, in companies and in users."""

    imported: Tally = NOTHING
    """All lines of the push."""
    written: Tally = NOTHING
    """Those that were written; in a preview, those that a push would write."""
    unchanged: Tally = NOTHING
    """Those whose quantity ConnectWise held already."""
    held: Tally = NOTHING
    """Those that wait to be confirmed in another push."""
    skipped: Tally = NOTHING
    """Those that are not mapped; in a revert, those that the push had not written."""
    failed: Tally = NOTHING
    """Those that could not be written."""
    superseded: Tally = NOTHING
    """Those whose place a newer push took."""
    cancelled: Tally = NOTHING
    """Those that were stopped before they were written."""

    @model_validator(mode="after")
    def _closes(self) -> Self:
        parts = [getattr(self, name) for name in type(self).model_fields if name != "imported"]
        if (sum(one.companies for one in parts), sum(one.users for one in parts)) != (
            self.imported.companies,
            self.imported.users,
        ):
            raise ValueError("what was imported is not the sum of what became of it")
        return self


COUNTS_EXAMPLE: dict[str, Any] = dict.fromkeys(LineCounts.model_fields, 0) | {"updated": 1}
TOTALS_EXAMPLE: dict[str, Any] = {name: {"companies": 0, "users": 0} for name in Totals.model_fields}
TOTALS_EXAMPLE |= {name: {"companies": 1, "users": 42} for name in ("imported", "written")}


class UnmappedCompany(Part):
    """A company with billable users that no addition stands for."""

    company_id: CompanyId
    """The company's id in Phin."""
    company_name: CompanyName
    """The company's name in Phin."""
    billable_users: Users
    """The users that nobody is billed for."""


class AbsentCompany(Part):
    """A company that is mapped but was not in the push."""

    company_id: CompanyId
    """The company's id in Phin."""
    company_name: CompanyName
    """The company's name in Phin."""
    quantity: Units | None = None
    """The quantity that is still billed for it; null = not known."""
    not_billed: bool = False
    """True if ConnectWise bills nothing for it: its agreement or addition has ended, is inactive or not Billable."""


class Absent(Part):
    """The companies that are mapped to the connected ConnectWise and were not in the push: they go on being billed.

    What is billed is the newest of what the last result, check or write told of each addition; of an addition that
    several companies share, the users that the company was pushed with last. It is nothing where the newest check or
    result says so.
    """

    companies: Companies = 0
    """The number of these companies."""
    quantity: Units = 0
    """The quantity that is still billed for them in all, as far as is known."""
    unknown: Companies = 0
    """The number of those of which it is not known."""
    not_billed: Companies = 0
    """The number of those for which ConnectWise bills nothing."""
    named: Annotated[tuple[AbsentCompany, ...], Field(strict=False, max_length=NAMED)] = ()
    """The first 1,000 of these companies by company id."""


class PushCompleted(Result):
    """Every line of a push is final; or the push was refused, which a problem explains, or cancelled."""

    model_config = explained("refused", "problem", {"type": "null"})

    type: Literal["push.completed.v1"] = "push.completed.v1"
    push_id: PushId
    """The push, or the revert, that has ended."""
    mode: SyncMode | None = None
    """The aim of the push: to set quantities, to try, or to put back; null = it was refused, and does not say."""
    period: BillingPeriod | None = None
    """The billing period of the push, or of the push that was taken back; null = it was refused, and none is known."""
    status: PushStatus
    """`completed` = it ran to its end; `refused` = it was not accepted; `cancelled` = it was stopped."""
    problem: Problem | None = None
    """The reason that it was refused, or stopped."""
    counts: Annotated[LineCounts, Words.like(COUNTS_EXAMPLE)] = LineCounts()
    """The number of lines that ended in each status."""
    totals: Annotated[Totals, Words.like(TOTALS_EXAMPLE)] = Totals()
    """Its lines as a sum that closes."""
    unmapped: Annotated[tuple[UnmappedCompany, ...], Field(strict=False)] = ()
    """The companies with users that no addition stands for."""
    absent: Absent | None = None
    """The mapped companies that were not in it; null = it was refused, or is a revert, which is not about all."""

    @model_validator(mode="after")
    def _refusal_is_explained(self) -> Self:
        if self.status == "refused" and self.problem is None:
            raise ValueError("a refused push needs a problem")
        return self
