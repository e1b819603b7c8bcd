"""Records of ConnectWise as the choices of drop-downs, and lists of them to search. Pure.

A list is kept as lines of text, one choice each with what it is searched by: of 20,000 companies only those that are
shown are ever made into objects.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from cwclient import Addition, Agreement, Company
from messages import Choice, plain_text
from worker.rules import billable
from worker.rules.billable import MappingFacts

# Choices in one answer.
PAGE = 100


def company_choice(company: Company) -> Choice:
    """Return a company by its name, with its identifier."""
    return Choice(id=company.id, name=_name(company.name, company.id), detail=_text(company.identifier))


def agreement_choice(agreement: Agreement, now: datetime) -> Choice:
    """Return an agreement with its type, status and dates."""
    term, today = billable.term_of(agreement), now.date()
    return Choice(
        id=agreement.id,
        name=_name(agreement.name, agreement.id),
        type=_text(agreement.type.name),
        status=_text(agreement.agreement_status),
        start_date=term.start_date,
        end_date=term.end_date,
        cancelled_date=term.cancelled_date,
        problem=next(iter(billable.assess_agreement(term, billable.single_day(today), today).problems), None),
    )


def addition_choice(addition: Addition, agreement_id: int, now: datetime) -> Choice:
    """Return an addition with its product, quantity, price and dates."""
    product, today = _text(addition.product.identifier), now.date()
    assessment = billable.assess(addition, [MappingFacts(agreement_id)], billable.single_day(today), today)
    return Choice(
        id=addition.id,
        name=_name(addition.description or addition.product.identifier, addition.id),
        status=_text(addition.addition_status),
        product=product,
        quantity=addition.quantity,
        unit_price=addition.unit_price,
        less_included=addition.less_included,
        effective_date=_day(addition.effective_date),
        cancelled_date=_day(addition.cancelled_date),
        problem=next(iter(assessment.problems), None),
    )


class ListingPage(NamedTuple):
    """The choices of one page; `more`: others follow."""

    choices: list[Choice]
    more: bool


@dataclass(frozen=True)
class Listing:
    """Choices in the order of their names, as lines of text; `fetched_at`: the time of the request for them."""

    fetched_at: datetime
    text: str

    @classmethod
    def of(cls, choices: Iterable[Choice], fetched_at: datetime) -> "Listing":
        """Return the choices sorted by name, without regard to capitals and accents."""
        lines = sorted((key := _plain(choice.name), choice.id, _line(key, choice)) for choice in choices)
        return cls(fetched_at, "\n".join(line for _, _, line in lines))

    def page(self, search: str | None, number: int) -> ListingPage:
        """Return page `number` of the choices whose name, detail or product contains `search`."""
        start = (number - 1) * PAGE
        shown: list[Choice] = []
        for place, choice in enumerate(self._matches(search)):
            if place >= start + PAGE:
                return ListingPage(shown, more=True)
            if place >= start:
                shown.append(Choice.model_validate_json(choice))
        return ListingPage(shown, more=False)

    def __iter__(self) -> Iterator[Choice]:
        return map(Choice.model_validate_json, self._matches(None))

    def _matches(self, search: str | None) -> Iterator[str]:
        """Yield the JSON of each choice whose text contains `search`."""
        needle = _plain(search or "")
        for line in self.text.split("\n") if self.text else ():
            text, _, choice = line.partition("\t")
            if needle in text:
                yield choice


def _line(key: str, choice: Choice) -> str:
    # Neither holds a tab or a line break: `_plain` leaves none, and JSON escapes them.
    others = [_plain(text) for text in (choice.detail, choice.product) if text]
    return f"{' | '.join([key, *others])}\t{choice.model_dump_json(exclude_none=True)}"


def _plain(text: str) -> str:
    """Return the form that is compared: lower case, without accents, zero-width characters and double blanks."""
    letters = unicodedata.normalize("NFKD", text)
    kept = "".join(char for char in letters if unicodedata.category(char) not in {"Mn", "Cf"})
    return " ".join(kept.casefold().split())


def _name(text: str, record_id: int) -> str:
    return plain_text(text, 256) or f"#{record_id}"


def _text(text: str | None) -> str | None:
    return plain_text(text or "", 256) or None


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()
