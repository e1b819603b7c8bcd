"""Mappings: which addition a Phin company's billable users go to, newest version by company."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, null, select, tuple_, update

from store.database import Tx, upsert
from store.schema import mappings

Addition = tuple[int, int]
"""(agreement id, addition id): how ConnectWise addresses an addition."""


@dataclass(frozen=True)
class Mapping:
    """The newest mapping of one company; all ids None = unmapped (a tombstone)."""

    partner_id: str
    company_id: str
    changed_at: datetime
    message_id: str
    company_name: str
    cw_company_id: int | None = None
    agreement_id: int | None = None
    addition_id: int | None = None
    rule: str = "refuse"
    minimum: int | None = None
    allow_not_billable: bool = False
    check: dict[str, Any] | None = None
    check_due_at: datetime | None = None
    check_attempts: int = 0
    correlation_id: str | None = None

    @property
    def correlation(self) -> str:
        """The correlation id of its answers."""
        return self.correlation_id or self.message_id

    @property
    def version(self) -> tuple[datetime, str]:
        """The order of versions: the time of the change, ties by message id."""
        return (self.changed_at, self.message_id)

    @property
    def addition(self) -> Addition | None:
        """The mapped addition, None as long as the mapping is unfinished."""
        if self.agreement_id is None or self.addition_id is None:
            return None
        return (self.agreement_id, self.addition_id)


def save(tx: Tx, new: Mapping) -> bool:
    """Keep the mapping if it is newer than the stored one; returns whether it was."""
    values = {
        "partner_id": new.partner_id,
        "company_id": new.company_id,
        "changed_at": new.changed_at,
        "message_id": new.message_id,
        "company_name": new.company_name,
        "cw_company_id": new.cw_company_id,
        "agreement_id": new.agreement_id,
        "addition_id": new.addition_id,
        "rule": new.rule,
        "minimum": new.minimum,
        "allow_not_billable": new.allow_not_billable,
        "check_json": None,
        "check_due_at": new.check_due_at,
        "check_attempts": new.check_attempts,
        "correlation_id": new.correlation_id,
    }
    statement = upsert(tx, mappings).values(values)
    fresh = {name: statement.excluded[name] for name in values if name not in {"partner_id", "company_id"}}
    statement = statement.on_conflict_do_update(
        index_elements=["partner_id", "company_id"],
        set_=fresh,
        where=tuple_(mappings.c.changed_at, mappings.c.message_id)
        < tuple_(statement.excluded.changed_at, statement.excluded.message_id),
    )
    return bool(tx.execute(statement.returning(mappings.c.company_id)).first())


def of_companies(tx: Tx, partner_id: str, company_ids: Collection[str]) -> dict[str, Mapping]:
    """The mappings of these companies, by company id."""
    query = select(mappings).where(mappings.c.partner_id == partner_id, mappings.c.company_id.in_(company_ids))
    return {row["company_id"]: _mapping(dict(row)) for row in tx.execute(query).mappings()}


def of_additions(tx: Tx, partner_id: str, additions: Collection[Addition]) -> list[Mapping]:
    """All mappings that point at one of these additions: more than one company may share it."""
    if not additions:
        return []
    query = select(mappings).where(
        mappings.c.partner_id == partner_id,
        tuple_(mappings.c.agreement_id, mappings.c.addition_id).in_(additions),
    )
    return [_mapping(dict(row)) for row in tx.execute(query.order_by(mappings.c.company_id)).mappings()]


def mapped_additions(tx: Tx, partner_id: str) -> list[tuple[Addition, datetime]]:
    """The additions that the partner's companies are mapped to, each with the time of the mapping."""
    columns = (mappings.c.agreement_id, mappings.c.addition_id, mappings.c.changed_at)
    which = (mappings.c.partner_id == partner_id, mappings.c.addition_id.is_not(None))
    return [((row[0], row[1]), row[2]) for row in tx.execute(select(*columns).where(*which))]


def sharing_additions(tx: Tx, partner_id: str, company_ids: Collection[str]) -> set[str]:
    """The companies that are mapped to the same additions as these, they themselves too if they are mapped."""
    additions = {mapping.addition for mapping in of_companies(tx, partner_id, company_ids).values()} - {None}
    found = of_additions(tx, partner_id, [addition for addition in additions if addition is not None])
    return {mapping.company_id for mapping in found}


def of_partner(tx: Tx, partner_id: str) -> list[Mapping]:
    """All mappings of a partner, tombstones too, by company id."""
    query = select(mappings).where(mappings.c.partner_id == partner_id).order_by(mappings.c.company_id)
    return [_mapping(dict(row)) for row in tx.execute(query).mappings()]


def due_checks(tx: Tx, partner_id: str, at: datetime, limit: int) -> list[Mapping]:
    """Mappings that are to be compared with ConnectWise."""
    query = (
        select(mappings)
        .where(mappings.c.partner_id == partner_id, mappings.c.check_due_at <= at)
        .order_by(mappings.c.check_due_at, mappings.c.company_id)
        .limit(limit)
    )
    return [_mapping(dict(row)) for row in tx.execute(query).mappings()]


def check_now(
    tx: Tx,
    partner_id: str,
    at: datetime,
    company_ids: Collection[str] | None = None,
    correlation_id: str | None = None,
) -> None:
    """Have these mappings compared with ConnectWise, None = all of the partner; those that are none are not.

    Their answers go under this correlation id, None = under that of who saved them, or asked last.
    """
    which = [mappings.c.partner_id == partner_id, mappings.c.cw_company_id.is_not(None)]
    if company_ids is not None:
        which.append(mappings.c.company_id.in_(company_ids))
    asked = {} if correlation_id is None else {"correlation_id": correlation_id}
    tx.execute(update(mappings).where(*which).values(check_due_at=at, check_attempts=0, **asked))


def save_check(tx: Tx, mapping: Mapping, check: dict[str, Any]) -> bool:
    """Keep what was found for exactly this version; False = the mapping has changed since.

    It stays due if another check was asked for since this one began.
    """
    due_at = case((mappings.c.check_due_at == mapping.check_due_at, null()), else_=mappings.c.check_due_at)
    found = {"check_json": json.dumps(check), "check_due_at": due_at, "check_attempts": 0}
    return tx.execute(update(mappings).where(*_is(mapping)).values(found)).rowcount == 1


def check_again(tx: Tx, mapping: Mapping, at: datetime | None) -> None:
    """Check this version again then; `check_attempts` of the mapping are the attempts that failed so far."""
    tx.execute(update(mappings).where(*_is(mapping)).values(check_due_at=at, check_attempts=mapping.check_attempts))


def _is(mapping: Mapping) -> tuple[Any, ...]:
    return (
        mappings.c.partner_id == mapping.partner_id,
        mappings.c.company_id == mapping.company_id,
        mappings.c.changed_at == mapping.changed_at,
        mappings.c.message_id == mapping.message_id,
    )


def _mapping(row: dict[str, Any]) -> Mapping:
    check = row.pop("check_json")
    return Mapping(**row, check=json.loads(check) if check else None)


def mapped_since(tx: Tx, partner_id: str, changed_at: datetime) -> tuple[set[str], set[str]]:
    """Companies mapped at or after that time: those that are stored, and of these those that have been checked."""
    query = select(mappings.c.company_id, mappings.c.check_json.is_not(None)).where(
        mappings.c.partner_id == partner_id, mappings.c.changed_at >= changed_at
    )
    found = tx.execute(query).all()
    return {company_id for company_id, _ in found}, {company_id for company_id, checked in found if checked}
