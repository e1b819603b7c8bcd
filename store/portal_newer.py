"""What has become newer than a push or a preview that a page shows: counts, pushes, reverts, the connection."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, or_, select

from store import connections
from store.connections import tenant_at
from store.database import Tx
from store.pushes import Push
from store.schema import portal_counts, push_lines, pushes


@dataclass(frozen=True)
class ImportedCount:
    """The users of a company as they are imported now; `is_newer`: imported after the push was requested."""

    company_id: str
    company_name: str
    users: int
    is_newer: bool


def imported(tx: Tx, push: Push) -> dict[str, ImportedCount]:
    """The counts that are imported now for the push's period, by company; none = the portal has imported none."""
    query = select(portal_counts).where(
        portal_counts.c.partner_id == push.partner_id, portal_counts.c.period_key == push.period.key
    )
    return {
        row.company_id: ImportedCount(
            row.company_id, row.company_name, row.billable_users, row.imported_at > push.requested_at
        )
        for row in tx.execute(query.order_by(portal_counts.c.company_name))
    }


def pushed_since(tx: Tx, push: Push) -> dict[str, Collection[str]]:
    """The companies of newer pushes and reverts of the same period, each with their modes.

    Previews and refused pushes write nothing, nor does a revert where nothing was written.
    """
    joined = (pushes.c.partner_id == push_lines.c.partner_id) & (pushes.c.push_id == push_lines.c.push_id)
    taken_back = and_(pushes.c.mode == "revert", push_lines.c.status != "skipped")
    query = (
        select(push_lines.c.company_id, pushes.c.mode)
        .distinct()
        .join_from(pushes, push_lines, joined)
        .where(
            pushes.c.partner_id == push.partner_id,
            pushes.c.period_key == push.period.key,
            or_(pushes.c.mode == "apply", taken_back),
            pushes.c.state != "refused",
            pushes.c.requested_at > push.requested_at,
        )
    )
    found: dict[str, set[str]] = {}
    for row in tx.execute(query):
        found.setdefault(row.company_id, set()).add(row.mode)
    return dict(found)


def is_connected_as_then(tx: Tx, push: Push) -> bool:
    """True if the ConnectWise that was connected when the push was requested is connected now, or there was none."""
    current = connections.current(tx, push.partner_id)
    then = tenant_at(connections.tenant_history(tx, push.partner_id), push.requested_at)
    return then is None or (current is not None and current.tenant == then)
