"""The assessment of an addition for a period: drop-downs, checks, previews and pushes all ask here if it is billed.

ConnectWise's dates are days, written as instants at T00:00:00Z (connectwise-api.md 5.1, 5.3): the days as written are
compared with the days of the period, and a record is good on its last day. A status is of today: where the dates tell
why it is not Active they are the authority (5.2), since the period may lie before or after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import NamedTuple

from cwclient import Addition, Agreement
from messages import AgreementTerm, BillingPeriod, MappingChecked, Problem, plain_text
from store.mappings import Mapping
from worker.rules.problems import problem

# The reasons that days of a period are not billed. They hold a line, and it goes through once they are confirmed.
DATE_REASONS = frozenset(
    {"addition_cancelled", "addition_not_begun", "agreement_cancelled", "agreement_expired", "agreement_not_begun"}
)

# Findings of a check that each line assesses again, as just read and for its period. The others stand.
REASSESSED = DATE_REASONS | {
    "addition_elsewhere",
    "addition_not_active",
    "agreement_inactive",
    "agreement_not_active",
    "not_billable",
    "product_changed",
    "shared_addition",
}

# Nothing is known of the agreement.
UNKNOWN_TERM = AgreementTerm()


@dataclass(frozen=True)
class MappingFacts:
    """The stored facts of a mapping: from its last check, and from the partner's settings.

    `checked_at` None = it has not been checked, or the check saw nothing of the agreement. `standing`: the findings of
    that check that hold until the next one.
    """

    agreement_id: int
    checked_at: datetime | None = None
    agreement: AgreementTerm = UNKNOWN_TERM
    product: str | None = None
    product_id: int | None = None
    standing: tuple[Problem, ...] = ()
    allows_not_billable: bool = False


@dataclass(frozen=True)
class Assessment:
    """The result: nothing may be written if it is `refused`; `unbilled_days` are the reasons that days are not billed.

    `no_day_billed`: not a single day of the period is billed.
    """

    refused: Problem | None = None
    unbilled_days: tuple[Problem, ...] = ()
    no_day_billed: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All reasons against a write, the gravest first."""
        return (*([self.refused] if self.refused else []), *self.unbilled_days)


def facts_of(mapping: Mapping, checked: MappingChecked | None) -> MappingFacts:
    """Return the facts of a finished mapping and its last check."""
    facts = MappingFacts(mapping.agreement_id or 0, allows_not_billable=mapping.allow_not_billable)
    if checked is None:
        return facts
    return replace(
        facts,
        checked_at=checked.time if checked.agreement is not None else None,
        agreement=checked.agreement or UNKNOWN_TERM,
        product=checked.product,
        product_id=checked.product_id,
        standing=tuple(finding for finding in checked.problems if finding.code not in REASSESSED),
    )


def assess(actual: Addition, facts: Sequence[MappingFacts], period: BillingPeriod, today: date) -> Assessment:
    """Assess an addition, as just read, for the period.

    `facts`: of all mappings that share it; a reason against one of them is a reason against the sum.
    """
    refused = [reason for each in facts for reason in (*_addition_refused(actual, each, today), *each.standing)]
    terms = dict.fromkeys(each.agreement for each in facts)
    agreements = [assess_agreement(term, period, today, actual.agreement_status) for term in terms]
    refused += [agreement.refused for agreement in agreements if agreement.refused is not None]
    first, last = _day(actual.effective_date), _day(actual.cancelled_date)
    unbilled_days = []
    if last is not None and last < period.end:
        unbilled_days.append(problem("addition_cancelled", since=last))
    if first is not None and first > period.start:
        unbilled_days.append(problem("addition_not_begun", effective=first))
    unbilled_days += [reason for agreement in agreements for reason in agreement.unbilled_days]
    return Assessment(
        refused=refused[0] if refused else None,
        unbilled_days=tuple(unbilled_days),
        no_day_billed=_none_of(period, first, last) or any(agreement.no_day_billed for agreement in agreements),
    )


def assess_agreement(term: AgreementTerm, period: BillingPeriod, today: date, status: str | None = None) -> Assessment:
    """Assess an agreement for the period. `status`: its status today, as its addition shows it."""
    ends = [
        (day, code, f"{word} on {day}")
        for day, code, word in (
            (term.cancelled_date, "agreement_cancelled", "cancelled"),
            (term.end_date, "agreement_expired", "ends"),
        )
        if day is not None
    ]
    first, (last, code, end) = term.start_date, min(ends, default=(None, "", ""))
    unbilled_days = []
    if last is not None and last < period.end:
        unbilled_days.append(problem(code, status=end))
    if first is not None and first > period.start:
        unbilled_days.append(problem("agreement_not_begun", start=first))
    runs = (first is None or first < today) and (last is None or today < last)
    # A cancellation may show at once, though it is dated later: until that day the agreement is billed.
    explained = {None, "Active"} | ({"Cancelled"} if term.cancelled_date is not None else set())
    # Within a day of the dates the status may be ahead of ours or behind: time zones differ.
    unexplained = [text for text in (status, term.status) if text not in explained and runs]
    return Assessment(
        refused=_agreement_status(str(unexplained[0])) if unexplained else None,
        unbilled_days=tuple(unbilled_days),
        no_day_billed=_none_of(period, first, last),
    )


def needs_check(
    actual: Addition,
    agreement: Agreement | None,
    mapping: Mapping,
    facts: MappingFacts,
    *,
    period: BillingPeriod,
    since: datetime,
    today: date,
) -> bool:
    """Return True if the mapping is to be checked before its line, accepted at `since`, is answered.

    A mapping that was never checked is checked first. So is one whose earlier check found a reason against the line,
    or saw another state of the `agreement` than was just read (None = it was not read).
    """
    if any(_addition_refused(actual, facts, today)):
        return False
    # An earlier check may have kept the product's identifier without the id that a change is known by.
    if facts.checked_at is None or (facts.product_id is None and product_of(actual).id):
        return True
    if agreement is not None:
        was_elsewhere = any(finding.code == "agreement_elsewhere" for finding in facts.standing)
        if term_of(agreement) != facts.agreement or belongs_elsewhere(agreement, mapping) != was_elsewhere:
            return True
    shown = actual.agreement_status
    # While a cancellation is still to come its day may be moved, and the status shows nothing of that.
    ends = facts.agreement.cancelled_date
    may_have_moved = shown == "Cancelled" and (ends is None or ends >= today)
    reasons = facts.standing or assess_agreement(facts.agreement, period, today, shown).problems
    return (may_have_moved or bool(reasons)) and facts.checked_at < since


def term_of(agreement: Agreement) -> AgreementTerm:
    """Return the days for which an agreement is made, and its status (connectwise-api.md 5.3)."""
    undated = agreement.cancelled_flag and agreement.date_cancelled is None
    status = plain_text(agreement.agreement_status or "", 256) or None
    return AgreementTerm(
        status="Cancelled" if undated else status,
        start_date=_day(agreement.start_date),
        end_date=None if agreement.no_ending_date_flag else _day(agreement.end_date),
        cancelled_date=_day(agreement.date_cancelled),
    )


def belongs_elsewhere(agreement: Agreement, mapping: Mapping) -> bool:
    """Return True if the agreement belongs to another company than the mapped one."""
    return agreement.company.id is not None and agreement.company.id != mapping.cw_company_id


def is_billable(actual: Addition) -> bool:
    """Return True if the customer is billed for the addition, or ConnectWise does not say (`billCustomer`, 5.1)."""
    return actual.bill_customer in {None, "Billable"}


class Product(NamedTuple):
    """A product by its identifier and its id; None = it has none that can be kept."""

    identifier: str | None
    id: int | None


def product_of(addition: Addition) -> Product:
    """Return the product of an addition."""
    number = addition.product.id
    is_record = number is not None and 1 <= number < 2**31
    return Product(plain_text(addition.product.identifier, 256) or None, number if is_record else None)


def is_another_product(actual: Addition, product: str | None, product_id: int | None) -> bool:
    """Return True if the addition bills another product than the one of this identifier and id.

    A product that was renamed keeps its id; one that was made anew may keep its identifier. Where no id was kept,
    another identifier alone proves nothing: it is no reason to stop billing.
    """
    now = product_of(actual)
    return None not in {product, product_id} and now.identifier != product and now.id != product_id


def single_day(today: date) -> BillingPeriod:
    """Return the period of this one day, to assess what can be billed now."""
    return BillingPeriod(start=today, end=today)


def _addition_refused(actual: Addition, facts: MappingFacts, today: date) -> Iterator[Problem]:
    """Yield the reasons that this addition, as just read, must not be written, whatever the period."""
    if actual.agreement_id is not None and actual.agreement_id != facts.agreement_id:
        yield problem("addition_elsewhere")
    if is_another_product(actual, facts.product, facts.product_id):
        yield problem("product_changed", before=facts.product, now=product_of(actual).identifier)
    first, last = _day(actual.effective_date), _day(actual.cancelled_date)
    runs = (first is None or first < today) and (last is None or today < last)
    match actual.addition_status:
        case "Cancelled" if last is None:
            yield problem("addition_cancelled", since=None)
        case "Expired" | "Inactive" if runs:
            yield problem("addition_not_active", status=actual.addition_status)
    if not is_billable(actual) and not facts.allows_not_billable:
        yield problem("not_billable")


def _agreement_status(status: str) -> Problem:
    """Return the problem of an agreement that is Cancelled, Expired, Inactive, or in a state of a newer ConnectWise."""
    return problem(_AGREEMENT_PROBLEMS.get(status, "agreement_not_active"), status=status)


_AGREEMENT_PROBLEMS = {
    "Cancelled": "agreement_cancelled",
    "Expired": "agreement_expired",
    "Inactive": "agreement_inactive",
}


def _none_of(period: BillingPeriod, first: date | None, last: date | None) -> bool:
    """Return True if no day of the period is among these."""
    return (first is not None and first > period.end) or (last is not None and last < period.start)


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()
