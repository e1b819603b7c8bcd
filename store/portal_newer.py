"""Counts and pushes that have become newer than a push or a preview that a page shows."""

from sqlalchemy import select

from store.database import Tx
from store.pushes import Push
from store.schema import portal_counts, push_lines, pushes


def users_since(tx: Tx, push: Push) -> dict[str, int] | None:
    """The users by company that are imported now for the push's period; None = the portal has imported none."""
    query = select(portal_counts.c.company_id, portal_counts.c.billable_users).where(
        portal_counts.c.partner_id == push.partner_id, portal_counts.c.period_key == push.period.key
    )
    return {row.company_id: row.billable_users for row in tx.execute(query)} or None


def pushed_since(tx: Tx, push: Push) -> set[str]:
    """The companies that a newer push of the same period names. Previews and refused pushes write nothing."""
    joined = (pushes.c.partner_id == push_lines.c.partner_id) & (pushes.c.push_id == push_lines.c.push_id)
    query = (
        select(push_lines.c.company_id)
        .distinct()
        .join_from(pushes, push_lines, joined)
        .where(
            pushes.c.partner_id == push.partner_id,
            pushes.c.period_key == push.period.key,
            pushes.c.mode == "apply",
            pushes.c.state != "refused",
            pushes.c.requested_at > push.requested_at,
        )
    )
    return set(tx.execute(query).scalars())
