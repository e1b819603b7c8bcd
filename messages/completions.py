"""How a push ended: its lines as a sum that closes, and the mapped companies that were not in it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from messages.envelope import MAX_COUNT, MAX_LINES, Count, Id, Name, Part, Quantity
from messages.results import Problem, Result, SyncMode

PushStatus = Literal["completed", "refused", "cancelled"]

NAMED = 1_000
"""So many absent companies are named in a message; all are counted."""


class LineCounts(Part):
    """How many lines of a push ended in each final status."""

    updated: Count = 0
    unchanged: Count = 0
    preview: Count = 0
    held: Count = 0
    skipped: Count = 0
    superseded: Count = 0
    cancelled: Count = 0
    failed: Count = 0


class Tally(Part):
    """So many companies, with so many billable users in all."""

    companies: Count = 0
    users: Annotated[int, Field(ge=0, le=MAX_COUNT * MAX_LINES)] = 0


NOTHING = Tally()


class Totals(Part):
    """The lines of a push as a sum: `imported` = all the others, in companies and in users.

    `written`: in a preview, would be written. `skipped`: not mapped, or in a revert, not written by the push.
    """

    imported: Tally = NOTHING
    written: Tally = NOTHING
    unchanged: Tally = NOTHING
    held: Tally = NOTHING
    skipped: Tally = NOTHING
    failed: Tally = NOTHING
    superseded: Tally = NOTHING
    cancelled: Tally = NOTHING

    @model_validator(mode="after")
    def _closes(self) -> Self:
        parts = [getattr(self, name) for name in type(self).model_fields if name != "imported"]
        if (sum(one.companies for one in parts), sum(one.users for one in parts)) != (
            self.imported.companies,
            self.imported.users,
        ):
            raise ValueError("what was imported is not the sum of what became of it")
        return self


class UnmappedCompany(Part):
    """A company with billable users that no addition stands for."""

    company_id: Id
    company_name: Name
    billable_users: Count


class AbsentCompany(Part):
    """A company that is mapped but was not in the push. `quantity`: still billed for it, null = not known."""

    company_id: Id
    company_name: Name
    quantity: Quantity | None = None


class Absent(Part):
    """The companies that are mapped to the connected ConnectWise and were not in the push: they go on being billed.

    `quantity`: what is still billed for them in all; of `unknown` companies it is not known. It is the newest of what
    the last result, check or write told of each addition; of an addition that several companies share, the users that
    the company was pushed with last. `named`: the first 1,000 of them by company id.
    """

    companies: Count = 0
    quantity: Quantity = 0
    unknown: Count = 0
    named: Annotated[tuple[AbsentCompany, ...], Field(strict=False, max_length=NAMED)] = ()


class PushCompleted(Result):
    """Every line of a push is final; or the push was refused, which a problem explains, or cancelled.

    `mode` null = the push was refused, and does not say whether it was a preview. `absent` null = the push was refused,
    or is a revert, which is not about all companies.
    """

    type: Literal["push.completed.v1"] = "push.completed.v1"
    push_id: Id
    mode: SyncMode | None = None
    status: PushStatus
    problem: Problem | None = None
    counts: LineCounts = LineCounts()
    totals: Totals = Totals()
    unmapped: Annotated[tuple[UnmappedCompany, ...], Field(strict=False)] = ()
    absent: Absent | None = None

    @model_validator(mode="after")
    def _refusal_is_explained(self) -> Self:
        if self.status == "refused" and self.problem is None:
            raise ValueError("a refused push needs a problem")
        return self
