"""A page follows a value that changes whenever a mapping, a check or a result of the partner does."""

from sqlalchemy import func, select

from store.database import Tx, db_now
from store.portal import ANSWERED_WITHIN
from store.schema import (
    catalog_questions,
    company_status,
    mappings,
    portal_choices,
    portal_counts,
    portal_questions,
    pushes,
)


def state_of_partner(tx: Tx, partner_id: str) -> tuple[object, ...]:
    """Everything that the page of companies shows, as few numbers."""
    queries = (
        select(func.count(), func.max(mappings.c.changed_at), func.sum(func.length(mappings.c.check_json))).where(
            mappings.c.partner_id == partner_id
        ),
        select(
            func.count(), func.max(company_status.c.requested_at), func.sum(func.length(company_status.c.result_json))
        ).where(company_status.c.partner_id == partner_id),
        select(func.count(), func.max(pushes.c.accepted_at)).where(
            pushes.c.partner_id == partner_id, pushes.c.state == "accepted"
        ),
        select(func.count(catalog_questions.c.answer_json)).where(catalog_questions.c.partner_id == partner_id),
        select(func.count()).where(
            portal_questions.c.partner_id == partner_id, portal_questions.c.asked_at > db_now(-ANSWERED_WITHIN)
        ),
        select(func.max(portal_choices.c.changed_at)).where(portal_choices.c.partner_id == partner_id),
        select(func.max(portal_counts.c.imported_at)).where(portal_counts.c.partner_id == partner_id),
    )
    return tuple(str(tuple(tx.execute(query).one())) for query in queries)
