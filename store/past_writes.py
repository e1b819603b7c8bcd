"""The quantities that were written, or may have been: what the ledger says of past writes."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, bindparam, case, func, or_, select

from store.any_of import any_pair
from store.database import Tx
from store.mappings import Addition
from store.schema import ledger
from store.targets import Days


@dataclass(frozen=True)
class WrittenQuantity:
    """A quantity that was written to an addition for a period, or may have been (not `is_certain`).

    `after`: the quantity in ConnectWise's answer to the write; what was read later may be somebody else's.
    """

    addition: Addition
    days: Days
    wanted: float
    after: float | None
    is_certain: bool


def written_quantities(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> list[WrittenQuantity]:
    """Return each (period, quantity) that was ever written to these additions once, the last written at the end."""
    if not additions:
        return []
    which = {"partner": partner_id, "tenant": tenant, "additions": additions}
    return [
        WrittenQuantity((row[0], row[1]), (row[2], row[3]), row[4], row[5], is_certain=bool(row[6]))
        for row in tx.execute(_WRITTEN_QUANTITIES, which)
    ]


_ADDITION = (ledger.c.agreement_id, ledger.c.addition_id)
_OF_ADDITIONS = (
    ledger.c.partner_id == bindparam("partner"),
    ledger.c.tenant == bindparam("tenant"),
    any_pair(_ADDITION, "additions"),
)
_WRITTEN = (
    ledger.c.period_start,
    ledger.c.period_end,
    ledger.c.quantity_wanted,
    case((ledger.c.outcome.in_(("written", "not_kept")), ledger.c.quantity_after)),
)
_WRITTEN_QUANTITIES = (
    select(*_ADDITION, *_WRITTEN, func.max(case((ledger.c.outcome == "written", 1), else_=0)))
    .where(*_OF_ADDITIONS, or_(ledger.c.outcome.is_(None), ledger.c.outcome != "refused"))
    .group_by(*_ADDITION, *_WRITTEN)
    .order_by(func.max(ledger.c.id))
)


class WriteAnswer(NamedTuple):
    """ConnectWise's answer to a write: accepted, or refused for the caller's rights (401, 403)."""

    addition: Addition
    is_taken: bool


def write_answers(tx: Tx, partner_id: str, tenant: str, since: datetime) -> list[WriteAnswer]:
    """The answers to writes begun since then, in their order: all refusals, and each addition's last acceptance."""
    begun = (ledger.c.partner_id == partner_id, ledger.c.tenant == tenant, ledger.c.opened_at >= since)
    is_refused = (ledger.c.outcome == "refused", ledger.c.http_status.in_((401, 403)))
    taken = select(*_ADDITION, func.max(ledger.c.closed_at)).where(
        *begun, ledger.c.outcome.in_(("written", "not_kept"))
    )
    refused = select(*_ADDITION, ledger.c.closed_at).where(*begun, *is_refused)
    answers = [(row[2], True, (row[0], row[1])) for row in tx.execute(taken.group_by(*_ADDITION))]
    answers += [(row[2], False, (row[0], row[1])) for row in tx.execute(refused)]
    return [WriteAnswer(addition, is_taken) for _, is_taken, addition in sorted(answers)]


@dataclass(frozen=True)
class PushWrite:
    """A write that ConnectWise accepted, or may have accepted, with the quantities before it and wanted."""

    tenant: str
    addition: Addition
    company_ids: tuple[str, ...]
    quantity_before: float | None
    quantity_wanted: float


def writes_of_push(tx: Tx, partner_id: str, push_id: str) -> list[PushWrite]:
    """The writes of a push, oldest first, also those that may have been applied, as reads can lag."""
    query = select(ledger).where(ledger.c.partner_id == partner_id, ledger.c.push_id == push_id, _may_be_written())
    return [
        PushWrite(
            tenant=row.tenant,
            addition=(row.agreement_id, row.addition_id),
            company_ids=tuple(json.loads(row.companies_json)),
            quantity_before=row.quantity_before,
            quantity_wanted=row.quantity_wanted,
        )
        for row in tx.execute(query.order_by(ledger.c.id))
    ]


def quantities_left_by(tx: Tx, partner_id: str, push_id: str, tenant: str, addition: Addition) -> set[float]:
    """The quantities that an addition may hold after a push: its last certain write, and less certain ones since.

    ConnectWise may turn a write into another number: the one that it showed then counts as the push's, too.
    """
    query = (
        select(ledger.c.quantity_wanted, ledger.c.quantity_after, ledger.c.outcome)
        .where(
            ledger.c.partner_id == partner_id,
            ledger.c.tenant == tenant,
            ledger.c.agreement_id == addition[0],
            ledger.c.addition_id == addition[1],
            ledger.c.push_id == push_id,
            _may_be_written(),
        )
        .order_by(ledger.c.id)
    )
    left: set[float] = set()
    for wanted, after, outcome in tx.execute(query):
        left = set() if outcome == "written" else left
        left |= {wanted, wanted if after is None else after}
    return left


def _may_be_written() -> ColumnElement[bool]:
    """A condition for writes that were applied, or may have been."""
    return or_(ledger.c.outcome.is_(None), ledger.c.outcome.in_(("written", "not_kept", "unknown")))


def last_written_rows(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> Sequence[Row[Any]]:
    """The ledger's row of the last write that ConnectWise accepted, for each of these additions that has one."""
    if not additions:
        return []
    which = {"partner": partner_id, "tenant": tenant, "additions": additions}
    return tx.execute(_LAST_WRITTEN, which).all()


_LAST_WRITTEN = select(ledger).where(
    ledger.c.id.in_(
        select(func.max(ledger.c.id)).where(*_OF_ADDITIONS, ledger.c.outcome == "written").group_by(*_ADDITION)
    )
)
