"""Records of ConnectWise as the choices of drop-downs, and lists of them to search. Pure.

A list is kept as lines of text, one choice each with what it is searched by: of 20,000 companies only those that are
shown are ever made into objects.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from cwclient import Addition, Agreement, Company
from messages import Choice, plain_text
from worker.rules import billable
from worker.rules.billable import MappingFacts

PAGE = 100
"""Choices in one answer."""


def of_company(company: Company) -> Choice:
    """A company by its name, with its identifier."""
    return Choice(id=company.id, name=_name(company.name, company.id), detail=_text(company.identifier))


def of_agreement(agreement: Agreement, now: datetime) -> Choice:
    """An agreement with its type, status and dates."""
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


def of_addition(addition: Addition, agreement_id: int, now: datetime) -> Choice:
    """An addition with its product, what is billed, and its dates."""
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


@dataclass(frozen=True)
class Listing:
    """Choices by name; `fetched_at`: when ConnectWise gave them."""

    fetched_at: datetime
    text: str

    @classmethod
    def of(cls, choices: Iterable[Choice], fetched_at: datetime) -> "Listing":
        """Sort the choices by name, without regard to capitals and accents."""
        lines = sorted((key := _plain(choice.name), choice.id, _line(key, choice)) for choice in choices)
        return cls(fetched_at, "\n".join(line for _, _, line in lines))

    def page(self, search: str | None, number: int) -> tuple[list[Choice], bool]:
        """The choices of page `number` whose name, detail or product contains `search`; whether there are more."""
        start = (number - 1) * PAGE
        shown: list[Choice] = []
        for place, (_, choice) in enumerate(self._found(search)):
            if place >= start + PAGE:
                return shown, True
            if place >= start:
                shown.append(Choice.model_validate_json(choice))
        return shown, False

    def __iter__(self) -> Iterator[Choice]:
        return (Choice.model_validate_json(choice) for _, choice in self._found(None))

    def _found(self, search: str | None) -> Iterator[tuple[str, str]]:
        """Yield the searched text of each choice that contains `search`, and the choice's JSON."""
        needle = _plain(search or "")
        for line in self.text.split("\n") if self.text else ():
            searched, _, choice = line.partition("\t")
            if needle in searched:
                yield searched, choice


def _line(key: str, choice: Choice) -> str:
    # Neither holds a tab or a line break: `_plain` leaves none, and JSON escapes them.
    others = [_plain(text) for text in (choice.detail, choice.product) if text]
    return f"{' | '.join([key, *others])}\t{choice.model_dump_json(exclude_none=True)}"


def _plain(text: str) -> str:
    """Return the form that is compared: in small letters, without accents, zero-width characters and double blanks."""
    letters = unicodedata.normalize("NFKD", text)
    kept = "".join(char for char in letters if unicodedata.category(char) not in {"Mn", "Cf"})
    return " ".join(kept.casefold().split())


def _name(text: str, record_id: int) -> str:
    return plain_text(text, 256) or f"#{record_id}"


def _text(text: str | None) -> str | None:
    return plain_text(text or "", 256) or None


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()
