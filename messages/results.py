"""The worker's answers to pushes, through the exchange `connectwise.sync`. Its other answers are beside this."""

from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from messages.envelope import BillingPeriod, Message, Part
from messages.values import Count, Name, Text, Words
from messages.vocabulary import At, Attempts, CompanyId, Money, PushId, Reason, Source, Units

LineStatus = Literal[
    "updated", "unchanged", "preview", "held", "skipped", "superseded", "cancelled", "failed", "retrying"
]
SyncMode = Literal["apply", "preview", "revert"]
Fixer = Literal["billing_coordinator", "connectwise_administrator", "phin_support", "nobody"]

FINAL: frozenset[LineStatus] = frozenset(get_args(LineStatus)) - {"retrying"}
"""The statuses after which a line of a push gets no other result."""

_EXPLAINED: tuple[LineStatus, ...] = ("failed", "held", "skipped")

_AGREEMENT_LINK = (
    "https://na.myconnectwise.net/v4_6_release/services/system_io/router/openrecord.rails"
    "?locale=en_US&companyName=acmemsp&recordType=AgreementFV&recid=7"
)


def explained(status: str, by: str, empty: JsonDict) -> ConfigDict:
    """Say in the schema that a message of this status has this field, which is not `empty`."""
    other: JsonDict = {"properties": {"status": {"not": {"const": status}}}}
    return ConfigDict(json_schema_extra={"anyOf": [other, {"properties": {by: {"not": empty}}}]})


class Problem(Part):
    """A problem and its remedy, in words that a billing coordinator understands."""

    code: Annotated[Reason, Words.like("record_refused")]
    """A stable name for programs; docs/problems.md lists them all."""
    title: Annotated[Name, Words.like("ConnectWise refused the change")]
    """The problem in a few words."""
    detail: Annotated[Text, Words.like("ConnectWise did not take the new quantity, and says why.")]
    """A sentence that says what happened."""
    fix: Annotated[Text, Words.like("Open the agreement in ConnectWise, correct what it names, then push again.")]
    """A sentence that says what to do."""
    where: Annotated[Text, Words.like("Finance > Agreements > the agreement > Additions")] | None = None
    """The path of the screen in ConnectWise."""
    who: Fixer | None = None
    """The person who can mend it."""
    said: Annotated[Text, Words.like("The agreement is locked for invoicing.")] | None = None
    """ConnectWise's own words."""
    link: Annotated[Text, Words.like(_AGREEMENT_LINK)] | None = None
    """The address of the record in ConnectWise."""


class Result(Message):
    """A message that the worker sends."""

    source: Source = "connectwise-worker"


class SyncResult(Result):
    """The result of one line of a push, or of a revert.

    Green check = updated or unchanged, unless it `reverts`: the period's count was taken out again. Newest by (period,
    requested_at, sequence), of those that change it: a preview only says what a push would do, whatever it found; of a
    revert only `updated`, `unchanged`, and what is `perhaps_written`: else the quantity is as it was before.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"status": {"const": "retrying"}, "next_attempt_at": {"type": "string"}}},
                {
                    "properties": {
                        "status": {"enum": [*_EXPLAINED]},
                        "next_attempt_at": {"type": "null"},
                        "problem": {"not": {"type": "null"}},
                    }
                },
                {
                    "properties": {
                        "status": {"enum": [*sorted(FINAL - set(_EXPLAINED))]},
                        "next_attempt_at": {"type": "null"},
                    }
                },
            ]
        }
    )

    type: Literal["sync.result.v1"] = "sync.result.v1"
    push_id: PushId
    """The push, or the revert, whose line this is."""
    mode: SyncMode = "apply"
    """The aim of the push: to set quantities, to try, or to put back."""
    reverts: PushId | None = None
    """The push that was taken back; null = this is no revert."""
    company_id: CompanyId
    """The company whose line this is."""
    period: BillingPeriod
    """The billing period of the push."""
    requested_at: At
    """When the push was asked for."""
    sequence: Annotated[Count, Words.like(1)]
    """Numbers the results of one line: the highest is the newest."""
    status: LineStatus
    """The state of the line. `retrying` is not final."""
    quantity_before: Units | None = None
    """The quantity that the addition held before; null = it was not read, or is empty."""
    quantity_wanted: Units | None = None
    """The quantity that the addition is to hold: the users, or the sum of all that share it, or the minimum."""
    quantity_after: Units | None = None
    """The quantity that ConnectWise holds now; null = it was not written, or that is not known."""
    billable: bool | None = None
    """False = the addition's Bill setting is not Billable, so ConnectWise bills nothing; null = it was not read."""
    attempts: Attempts = 0
    """The number of times that ConnectWise was asked for this line."""
    next_attempt_at: At | None = None
    """When the next attempt is; only of a line that is `retrying`."""
    unit_price: Money | None = None
    """In a preview: the price of one unit."""
    less_included: Units | None = None
    """In a preview: the units that the addition includes, which are not billed."""
    difference: Units | None = None
    """In a preview: wanted - before."""
    amount: Money | None = None
    """In a preview, unless it fails: (wanted - less_included) x unit_price, at least 0; 0 if not Billable."""
    amount_difference: Money | None = None
    """In a preview: how much more the amount is than now."""
    perhaps_written: bool = False
    """True if the line failed, but its write may have changed the quantity: not kept, or its end is not known."""
    problem: Problem | None = None
    """The problem that stands in the way."""
    reasons: Annotated[tuple[Problem, ...], Field(strict=False, max_length=20)] = ()
    """All that a line is held for, `problem` first; a confirmation names their codes."""
    warnings: Annotated[tuple[Problem, ...], Field(strict=False, max_length=20)] = ()
    """The problems that do not hold the line up, but are worth a look."""

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if (self.status == "retrying") != (self.next_attempt_at is not None):
            raise ValueError("next_attempt_at belongs to retrying, and only to that")
        if self.status in _EXPLAINED and self.problem is None:
            raise ValueError(f"a line that is {self.status} needs a problem")
        return self

    @property
    def changes_status(self) -> bool:
        """True if Sync Status shows it, as long as it is the newest of its company."""
        if self.mode == "preview":
            return False
        return self.reverts is None or self.status in {"updated", "unchanged"} or self.perhaps_written
