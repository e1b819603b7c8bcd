"""The memory of the portal itself: imported counts, choices on their way, and questions. No worker reads it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select

from messages import MappingChanged, PushLine
from store.catalog import find
from store.database import Tx, db_now, upsert
from store.pushes import chunks
from store.schema import portal_choices, portal_counts, portal_questions

AT_ONCE = 500
ANSWERED_WITHIN = 120.0
"""Seconds for which an answer is awaited."""


@dataclass(frozen=True)
class Import:
    """The counts of a period as they were imported last."""

    period_key: str
    imported_at: datetime
    imported_by: str
    companies: int
    users: int


@dataclass(frozen=True)
class Choice:
    """A mapping that was sent, and the names of its records: company, agreement, addition."""

    event: MappingChanged
    names: tuple[str | None, str | None, str | None]


def replace_counts(tx: Tx, partner_id: str, period_key: str, lines: Sequence[PushLine], imported_by: str) -> None:
    """Keep these counts of a period in place of the former ones."""
    which = (portal_counts.c.partner_id == partner_id, portal_counts.c.period_key == period_key)
    tx.execute(delete(portal_counts).where(*which))
    at = tx.execute(select(db_now())).scalar_one()
    common = {"partner_id": partner_id, "period_key": period_key, "imported_at": at, "imported_by": imported_by}
    for some in chunks(lines, AT_ONCE):
        tx.execute(insert(portal_counts), [common | _count(line) for line in some])


def counts(tx: Tx, partner_id: str, period_key: str) -> list[PushLine]:
    """The counts of a period, by company id."""
    query = select(portal_counts).where(
        portal_counts.c.partner_id == partner_id, portal_counts.c.period_key == period_key
    )
    return [
        PushLine(company_id=row.company_id, company_name=row.company_name, billable_users=row.billable_users)
        for row in tx.execute(query.order_by(portal_counts.c.company_id))
    ]


def imports(tx: Tx, partner_id: str) -> list[Import]:
    """Return the imports of each period, the newest import first."""
    at = func.max(portal_counts.c.imported_at, type_=portal_counts.c.imported_at.type).label("at")
    query = (
        select(
            portal_counts.c.period_key,
            at,
            func.max(portal_counts.c.imported_by),
            func.count(),
            func.sum(portal_counts.c.billable_users),
        )
        .where(portal_counts.c.partner_id == partner_id)
        .group_by(portal_counts.c.period_key)
        .order_by(at.desc())
    )
    return [Import(row[0], row[1], row[2], int(row[3]), int(row[4])) for row in tx.execute(query)]


def keep_choices(tx: Tx, chosen: Collection[Choice]) -> None:
    """Remember choices, in place of the companies' former ones."""
    for choice in chosen:
        values = {
            "changed_at": choice.event.changed_at,
            "event_json": choice.event.model_dump_json(),
            "names_json": json.dumps(choice.names),
        }
        key = {"partner_id": choice.event.partner_id, "company_id": choice.event.company_id}
        statement = upsert(tx, portal_choices).values(key | values)
        tx.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def choices(tx: Tx, partner_id: str) -> Mapping[str, Choice]:
    """The choices of a partner, by company."""
    query = select(portal_choices).where(portal_choices.c.partner_id == partner_id)
    return {
        row.company_id: Choice(
            MappingChanged.model_validate_json(row.event_json, extra="ignore"), tuple(json.loads(row.names_json))
        )
        for row in tx.execute(query)
    }


def keep_questions(tx: Tx, partner_id: str, message_ids: Collection[str]) -> None:
    """Remember the questions for suggestions, in place of the former ones."""
    tx.execute(delete(portal_questions).where(portal_questions.c.partner_id == partner_id))
    if message_ids:
        common = {"partner_id": partner_id, "asked_at": tx.execute(select(db_now())).scalar_one()}
        rows = [common | {"message_id": message_id} for message_id in message_ids]
        tx.execute(insert(portal_questions), rows)


def answers(tx: Tx, partner_id: str) -> tuple[list[str], int]:
    """The answers to the questions for suggestions that were asked last, and the number that is still awaited.

    One that was not answered for so long may be lost, or its answer was removed since.
    """
    recently = func.coalesce(portal_questions.c.asked_at > db_now(-ANSWERED_WITHIN), False)
    query = select(portal_questions.c.message_id, recently.label("recently"))
    found, awaited = [], 0
    for row in tx.execute(query.where(portal_questions.c.partner_id == partner_id).order_by("message_id")).all():
        question = find(tx, partner_id, row.message_id)
        if question is not None and question.answer is not None:
            found.append(question.answer)
        elif row.recently:
            awaited += 1
    return found, awaited


def _count(line: PushLine) -> dict[str, object]:
    return {
        "company_id": line.company_id,
        "company_name": line.company_name,
        "billable_users": line.billable_users,
    }
