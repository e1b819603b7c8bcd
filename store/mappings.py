"""Mappings: the addition that a Phin company's billable users are written to. The newest version is stored."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, null, select, tuple_, update

from messages import MappingChanged
from store.any_of import any_of, any_pair
from store.database import Tx, upsert
from store.schema import mappings

Addition = tuple[int, int]
"""(agreement id, addition id): how ConnectWise addresses an addition."""


class MappedAddition(NamedTuple):
    """An addition that a company was mapped to at a time."""

    addition: Addition
    changed_at: datetime


class MappedCompanies(NamedTuple):
    """The ids of companies whose mappings are stored, and of those among them that have been checked."""

    stored: set[str]
    checked: set[str]


Version = tuple[datetime, str]
"""(changed at, message id)"""


@dataclass(frozen=True)
class Mapping:
    """The newest mapping of one company; all ids None = unmapped (a tombstone).

    `check_json`: the `mapping.checked` that answered it, None as long as it has not been checked.
    """

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
    check_json: str | None = None
    check_due_at: datetime | None = None
    check_attempts: int = 0
    correlation_id: str | None = None

    @property
    def check(self) -> dict[str, Any] | None:
        """The answer to it, as plain JSON values."""
        return None if self.check_json is None else json.loads(self.check_json)

    @property
    def correlation(self) -> str:
        """The correlation id of answers about this version."""
        return self.correlation_id or self.message_id

    @property
    def version(self) -> Version:
        """The order of versions: the time of the change, ties by message id."""
        return (self.changed_at, self.message_id)

    @property
    def addition(self) -> Addition | None:
        """The mapped addition; None while the mapping is unfinished."""
        if self.agreement_id is None or self.addition_id is None:
            return None
        return (self.agreement_id, self.addition_id)


def of_event(event: MappingChanged, *, check_due_at: datetime | None = None) -> Mapping:
    """The mapping that an event brings, to be checked at this time."""
    return Mapping(
        partner_id=event.partner_id,
        company_id=event.company_id,
        changed_at=event.changed_at,
        message_id=str(event.id),
        company_name=event.company_name,
        cw_company_id=event.cw_company_id,
        agreement_id=event.agreement_id,
        addition_id=event.addition_id,
        rule=event.rule,
        minimum=event.minimum,
        allow_not_billable=event.allow_not_billable,
        check_due_at=check_due_at,
        correlation_id=event.correlation_id,
    )


def save(tx: Tx, new: Mapping) -> bool:
    """Store the mapping if it is newer than the stored one. Returns True if it was."""
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
    replaced = {name: statement.excluded[name] for name in values if name not in {"partner_id", "company_id"}}
    statement = statement.on_conflict_do_update(
        index_elements=["partner_id", "company_id"],
        set_=replaced,
        where=tuple_(mappings.c.changed_at, mappings.c.message_id)
        < tuple_(statement.excluded.changed_at, statement.excluded.message_id),
    )
    return bool(tx.execute(statement.returning(mappings.c.company_id)).first())


_OF_PARTNER = select(mappings).where(mappings.c.partner_id == bindparam("partner"))
_OF_COMPANIES = _OF_PARTNER.where(any_of(mappings.c.company_id, "companies"))
_ADDITION = (mappings.c.agreement_id, mappings.c.addition_id)
_OF_ADDITIONS = _OF_PARTNER.where(any_pair(_ADDITION, "additions")).order_by(mappings.c.company_id)
_DUE_CHECKS = (
    _OF_PARTNER.where(mappings.c.check_due_at <= bindparam("at"))
    .order_by(mappings.c.check_due_at, mappings.c.company_id)
    .limit(bindparam("limit"))
)


def of_companies(tx: Tx, partner_id: str, company_ids: Collection[str]) -> dict[str, Mapping]:
    """The mappings of these companies, by company id."""
    which = {"partner": partner_id, "companies": list(company_ids)}
    return {row["company_id"]: Mapping(**row) for row in tx.execute(_OF_COMPANIES, which).mappings()}


def of_additions(tx: Tx, partner_id: str, additions: Collection[Addition]) -> list[Mapping]:
    """All mappings to one of these additions, by company id: several companies may share one."""
    if not additions:
        return []
    which = {"partner": partner_id, "additions": additions}
    return [Mapping(**row) for row in tx.execute(_OF_ADDITIONS, which).mappings()]


def mapped_additions(tx: Tx, partner_id: str) -> list[MappedAddition]:
    """The additions that the partner's companies are mapped to."""
    columns = (mappings.c.agreement_id, mappings.c.addition_id, mappings.c.changed_at)
    which = (mappings.c.partner_id == partner_id, mappings.c.addition_id.is_not(None))
    return [MappedAddition((row[0], row[1]), row[2]) for row in tx.execute(select(*columns).where(*which))]


def sharing_additions(tx: Tx, partner_id: str, company_ids: Collection[str]) -> set[str]:
    """The companies mapped to the same additions as these, including these if they are mapped."""
    additions = {mapping.addition for mapping in of_companies(tx, partner_id, company_ids).values()} - {None}
    sharing = of_additions(tx, partner_id, [addition for addition in additions if addition is not None])
    return {mapping.company_id for mapping in sharing}


def of_partner(tx: Tx, partner_id: str) -> list[Mapping]:
    """All mappings of a partner, tombstones too, by company id."""
    query = select(mappings).where(mappings.c.partner_id == partner_id).order_by(mappings.c.company_id)
    return [Mapping(**row) for row in tx.execute(query).mappings()]


def due_checks(tx: Tx, partner_id: str, at: datetime, limit: int) -> list[Mapping]:
    """Mappings whose check against ConnectWise is due, the longest waiting first."""
    which = {"partner": partner_id, "at": at, "limit": limit}
    return [Mapping(**row) for row in tx.execute(_DUE_CHECKS, which).mappings()]


def check_now(
    tx: Tx,
    partner_id: str,
    at: datetime,
    company_ids: Collection[str] | None = None,
    correlation_id: str | None = None,
) -> None:
    """Make the checks of these companies' mappings due (None = of all companies), except tombstones.

    Their answers carry this correlation id; None = the one they had.
    """
    which = [mappings.c.partner_id == partner_id, mappings.c.cw_company_id.is_not(None)]
    if company_ids is not None:
        which.append(mappings.c.company_id.in_(company_ids))
    correlation = {} if correlation_id is None else {"correlation_id": correlation_id}
    tx.execute(update(mappings).where(*which).values(check_due_at=at, check_attempts=0, **correlation))


def save_check(tx: Tx, mapping: Mapping, check: dict[str, Any]) -> bool:
    """Store what the check of exactly this version found; False = the mapping has changed since.

    It stays due if another check was requested after this one began.
    """
    due_at = case((mappings.c.check_due_at == mapping.check_due_at, null()), else_=mappings.c.check_due_at)
    values = {"check_json": json.dumps(check), "check_due_at": due_at, "check_attempts": 0}
    return tx.execute(update(mappings).where(*_is(mapping)).values(values)).rowcount == 1


def check_again(tx: Tx, mapping: Mapping, at: datetime | None) -> None:
    """Make the check of this version due at that time, and store `mapping.check_attempts`."""
    tx.execute(update(mappings).where(*_is(mapping)).values(check_due_at=at, check_attempts=mapping.check_attempts))


def _is(mapping: Mapping) -> tuple[Any, ...]:
    return (
        mappings.c.partner_id == mapping.partner_id,
        mappings.c.company_id == mapping.company_id,
        mappings.c.changed_at == mapping.changed_at,
        mappings.c.message_id == mapping.message_id,
    )


def mapped_since(tx: Tx, partner_id: str, changed_at: datetime) -> MappedCompanies:
    """The companies whose mapping was changed at or after that time."""
    query = select(mappings.c.company_id, mappings.c.check_json.is_not(None)).where(
        mappings.c.partner_id == partner_id, mappings.c.changed_at >= changed_at
    )
    rows = tx.execute(query).all()
    return MappedCompanies({row[0] for row in rows}, {row[0] for row in rows if row[1]})
