"""May an addition be billed through in a period? One judgement for drop-downs, checks, previews and pushes. Pure.

ConnectWise's dates are days, written as instants at T00:00:00Z (connectwise-api.md 5.1, 5.3): the days as written are
compared with the days of the period, and a record is good on its last day. A status is of today: where the dates tell
why it is not Active they are the authority (5.2), since the period may lie before or after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from cwclient import Addition, Agreement
from messages import AgreementTerm, BillingPeriod, MappingChecked, Problem, plain_text
from store.mappings import Mapping
from worker.rules.problems import problem

DATE_REASONS = frozenset(
    {"addition_cancelled", "addition_not_begun", "agreement_cancelled", "agreement_expired", "agreement_not_begun"}
)
"""The reasons that days of a period are not billed. They hold a line, and it goes through once they are confirmed."""

JUDGED_ANEW = DATE_REASONS | {
    "addition_elsewhere",
    "addition_not_active",
    "agreement_inactive",
    "agreement_not_active",
    "not_billable",
    "product_changed",
    "shared_addition",
}
"""Findings of a check that each line judges for itself, from what it reads and for its period; the others stand."""

UNKNOWN_TERM = AgreementTerm()
"""Nothing is known of the agreement."""


@dataclass(frozen=True)
class MappingFacts:
    """The facts of a mapping that need no look at its addition: from its last check, and from the partner's settings.

    `checked_at` None = it has not been checked, or nothing was seen of the agreement. `standing` are the findings of
    that check that the addition does not tell.
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
    """`refused`: nothing may be written. `outside`: why days of the period are not billed; `no_day`: not one is."""

    refused: Problem | None = None
    unbilled_days: tuple[Problem, ...] = ()
    no_day_billed: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that stands in the way, the gravest first."""
        return (*([self.refused] if self.refused else []), *self.unbilled_days)


def facts_of(mapping: Mapping, checked: MappingChecked | None) -> MappingFacts:
    """Return the facts that a finished mapping and its last check tell."""
    known = MappingFacts(mapping.agreement_id or 0, allows_not_billable=mapping.allow_not_billable)
    if checked is None:
        return known
    return replace(
        known,
        checked_at=checked.time if checked.agreement is not None else None,
        agreement=checked.agreement or UNKNOWN_TERM,
        product=checked.product,
        product_id=checked.product_id,
        standing=tuple(one for one in checked.problems if one.code not in JUDGED_ANEW),
    )


def assess(actual: Addition, known: Sequence[MappingFacts], period: BillingPeriod, today: date) -> Assessment:
    """Judge whether the addition may be written for the period, by what was just read of it and by what is known.

    `known`: of all mappings that share it; what stands against one stands against the sum.
    """
    refused = [why for one in known for why in (*_addition_refused(actual, one, today), *one.standing)]
    terms = dict.fromkeys(one.agreement for one in known)
    judged = [assess_agreement(term, period, today, actual.agreement_status) for term in terms]
    refused += [one.refused for one in judged if one.refused is not None]
    first, last = _day(actual.effective_date), _day(actual.cancelled_date)
    unbilled_days = []
    if last is not None and last < period.end:
        unbilled_days.append(problem("addition_cancelled", since=last))
    if first is not None and first > period.start:
        unbilled_days.append(problem("addition_not_begun", effective=first))
    unbilled_days += [why for one in judged for why in one.unbilled_days]
    return Assessment(
        refused=refused[0] if refused else None,
        unbilled_days=tuple(unbilled_days),
        no_day_billed=_none_of(period, first, last) or any(one.no_day_billed for one in judged),
    )


def assess_agreement(term: AgreementTerm, period: BillingPeriod, today: date, status: str | None = None) -> Assessment:
    """Judge whether an agreement can bill anything in the period. `status`: what its addition says of it today."""
    ends = [
        (day, code, f"{word} on {day}")
        for day, code, word in (
            (term.cancelled_date, "agreement_cancelled", "cancelled"),
            (term.end_date, "agreement_expired", "ends"),
        )
        if day is not None
    ]
    first, (last, code, said) = term.start_date, min(ends, default=(None, "", ""))
    unbilled_days = []
    if last is not None and last < period.end:
        unbilled_days.append(problem(code, status=said))
    if first is not None and first > period.start:
        unbilled_days.append(problem("agreement_not_begun", start=first))
    runs = (first is None or first < today) and (last is None or today < last)
    # Within a day of the dates the status may be ahead of ours or behind: time zones differ.
    unexplained = [one for one in (status, term.status) if one not in {None, "Active"} and runs]
    return Assessment(
        refused=_agreement_status(str(unexplained[0])) if unexplained else None,
        unbilled_days=tuple(unbilled_days),
        no_day_billed=_none_of(period, first, last),
    )


def needs_check(
    actual: Addition,
    agreement: Agreement | None,
    mapping: Mapping,
    known: MappingFacts,
    *,
    period: BillingPeriod,
    since: datetime,
    today: date,
) -> bool:
    """True if the mapping is to be checked before its line, accepted at `since`, is answered.

    What an earlier check holds against a line is asked again first, and what was never checked is. `agreement`: if it
    was just read, and tells something else than the check, that is asked again too.
    """
    if any(_addition_refused(actual, known, today)):
        return False
    # An earlier check may have kept the product's identifier without the id that a change is known by.
    if known.checked_at is None or (known.product_id is None and product_of(actual)[1]):
        return True
    if agreement is not None:
        is_elsewhere = any(one.code == "agreement_elsewhere" for one in known.standing)
        if term_of(agreement) != known.agreement or belongs_elsewhere(agreement, mapping) != is_elsewhere:
            return True
    held_against = known.standing or assess_agreement(known.agreement, period, today, actual.agreement_status).problems
    return bool(held_against) and known.checked_at < since


def term_of(agreement: Agreement) -> AgreementTerm:
    """The days for which an agreement is made, and its status (connectwise-api.md 5.3)."""
    undated = agreement.cancelled_flag and agreement.date_cancelled is None
    status = plain_text(agreement.agreement_status or "", 256) or None
    return AgreementTerm(
        status="Cancelled" if undated else status,
        start_date=_day(agreement.start_date),
        end_date=None if agreement.no_ending_date_flag else _day(agreement.end_date),
        cancelled_date=_day(agreement.date_cancelled),
    )


def belongs_elsewhere(agreement: Agreement, mapping: Mapping) -> bool:
    """True if the agreement belongs to another company than the mapped one."""
    return agreement.company.id is not None and agreement.company.id != mapping.cw_company_id


def is_billable(actual: Addition) -> bool:
    """True if the customer is billed for the addition, or ConnectWise does not say (`billCustomer`, 5.1)."""
    return actual.bill_customer in {None, "Billable"}


def product_of(addition: Addition) -> tuple[str | None, int | None]:
    """The identifier and the id of the addition's product; None = it has none that can be kept."""
    known_by = addition.product.id
    is_record = known_by is not None and 1 <= known_by < 2**31
    return plain_text(addition.product.identifier, 256) or None, known_by if is_record else None


def is_another_product(actual: Addition, product: str | None, product_id: int | None) -> bool:
    """True if the addition bills another product than the one of this identifier and id.

    A product that was renamed keeps its id, one that was made anew may keep its identifier. Where no id was kept
    another identifier alone does not tell: it is no reason to stop billing.
    """
    now, now_id = product_of(actual)
    return None not in {product, product_id} and now != product and now_id != product_id


def single_day(today: date) -> BillingPeriod:
    """The period of this one day: what can be billed now."""
    return BillingPeriod(start=today, end=today)


def _addition_refused(actual: Addition, known: MappingFacts, today: date) -> Iterator[Problem]:
    """Yield the reasons that this addition must not be written, whatever the period, by what was just read of it."""
    if actual.agreement_id is not None and actual.agreement_id != known.agreement_id:
        yield problem("addition_elsewhere")
    if is_another_product(actual, known.product, known.product_id):
        yield problem("product_changed", before=known.product, now=product_of(actual)[0])
    first, last = _day(actual.effective_date), _day(actual.cancelled_date)
    runs = (first is None or first < today) and (last is None or today < last)
    match actual.addition_status:
        case "Cancelled" if last is None:
            yield problem("addition_cancelled", since=None)
        case "Expired" | "Inactive" if runs:
            yield problem("addition_not_active", status=actual.addition_status)
    if not is_billable(actual) and not known.allows_not_billable:
        yield problem("not_billable")


def _agreement_status(status: str) -> Problem:
    """The agreement is not Active, but Cancelled, Expired, Inactive, or what a newer ConnectWise may say."""
    return problem(_AGREEMENT_PROBLEMS.get(status, "agreement_not_active"), status=status)


_AGREEMENT_PROBLEMS = {
    "Cancelled": "agreement_cancelled",
    "Expired": "agreement_expired",
    "Inactive": "agreement_inactive",
}


def _none_of(period: BillingPeriod, first: date | None, last: date | None) -> bool:
    """True if no day of the period is among these."""
    return (first is not None and first > period.end) or (last is not None and last < period.start)


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()
