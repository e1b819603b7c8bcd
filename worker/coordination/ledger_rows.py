"""Writes of the ledger as rows of a table, for files and programs."""

from collections.abc import Iterable, Mapping
from typing import Any

from store.ledger_queries import LedgerWrite
from worker.spreadsheet import escape_formula

COLUMNS = (
    "opened_at",
    "closed_at",
    "requested_by",
    "push_id",
    "kind",
    "period",
    "company_ids",
    "company_names",
    "tenant",
    "agreement_id",
    "addition_id",
    "quantity_before",
    "quantity_wanted",
    "quantity_after",
    "outcome",
    "http_status",
)
BETWEEN = "; "
"""The separator of several companies in a cell."""


def document(write: LedgerWrite, names: Mapping[str, str]) -> dict[str, Any]:
    """A write for programs."""
    return {
        "opened_at": write.opened_at.isoformat(),
        "closed_at": write.closed_at.isoformat() if write.closed_at else None,
        "requested_by": write.requested_by,
        "push_id": write.push_id,
        "kind": write.kind,
        "period": write.period_key,
        "company_ids": list(write.company_ids),
        "company_names": list(named(write.company_ids, names)),
        "tenant": write.tenant,
        "agreement_id": write.agreement_id,
        "addition_id": write.addition_id,
        "quantity_before": number(write.quantity_before),
        "quantity_wanted": number(write.quantity_wanted),
        "quantity_after": number(write.quantity_after),
        "outcome": write.outcome,
        "http_status": write.http_status,
    }


def row(write: LedgerWrite, names: Mapping[str, str]) -> list[str]:
    """The cells of a write, under COLUMNS; none begins a formula."""
    values = document(write, names)
    return [_cell(values[column]) for column in COLUMNS]


def _cell(value: Any) -> str:  # noqa: ANN401 - text, texts, a number or nothing
    if value is None:
        return ""
    if isinstance(value, list):
        return escape_formula(BETWEEN.join(value))
    return escape_formula(value) if isinstance(value, str) else str(value)


def named(company_ids: Iterable[str], names: Mapping[str, str]) -> Iterable[str]:
    """The names of companies, their ids where none is known."""
    return (names.get(company_id, company_id) for company_id in company_ids)


def number(quantity: float | None) -> int | float | None:
    """Whole quantities as integers: 42, not 42.0."""
    return int(quantity) if quantity is not None and quantity == int(quantity) else quantity
