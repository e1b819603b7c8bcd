"""Lines of reverts that are put back together: those of the companies that were summed into one addition."""

from collections.abc import Collection, Iterator
from collections.abc import Mapping as Map
from datetime import datetime

from sqlalchemy import select, true

from store import pushes, targets
from store.database import Tx
from store.mappings import Addition
from store.pushes import Line, Push
from store.schema import pushes as pushes_table
from store.schema import syncs
from store.targets import Target

LinesByAddition = dict[tuple[str, str, Addition], list[Line]]
"""All lines of a revert for one addition, by (revert id, tenant, addition)."""


def lines_by_addition(tx: Tx, partner_id: str, lines: Collection[Line]) -> LinesByAddition:
    """Those of these lines that restore something, with all others of their addition."""
    additions: dict[str, set[Addition]] = {}
    for line in lines:
        if line.restore is not None:
            additions.setdefault(line.push.push_id, set()).add(line.restore.addition)
    found: LinesByAddition = {}
    for push_id, some in additions.items():
        for line in pushes.lines_restoring(tx, partner_id, push_id, some):
            if line.restore is not None:
                found.setdefault((push_id, line.restore.tenant, line.restore.addition), []).append(line)
    return found


def other_open_lines(
    tx: Tx, partner_id: str, found: LinesByAddition, known: Map[tuple[str, str], Line]
) -> Iterator[tuple[Target, Line]]:
    """The lines that wait with their wish, and are not known already."""
    lines = [line for some in found.values() for line in some if line.is_open and line.key not in known]
    stored = targets.of_companies(tx, partner_id, {line.company_id for line in lines})
    for line in lines:
        wish = stored.get((line.company_id, line.push.period.key))
        if wish is not None and wish.push_id == line.push.push_id and wish.due_at is not None:
            yield wish, line


def pushed_since(
    tx: Tx, partner_id: str, reverted: Push, before: datetime | None = None
) -> dict[tuple[str, Addition], str]:
    """The additions (with their tenants) that a push after this one has set, or found as it wants them: its period.

    `before`: only of pushes that were requested by then. Reverts are none: what they put back was there before.
    """
    query = (
        select(
            syncs.c.settled_tenant, syncs.c.settled_agreement_id, syncs.c.settled_addition_id, pushes_table.c.period_key
        )
        .join_from(
            syncs,
            pushes_table,
            (pushes_table.c.partner_id == syncs.c.partner_id) & (pushes_table.c.push_id == syncs.c.settled_push_id),
        )
        .where(
            syncs.c.partner_id == partner_id,
            syncs.c.settled_addition_id.is_not(None),
            syncs.c.settled_requested_at > reverted.requested_at,
            pushes_table.c.mode == "apply",
            syncs.c.settled_requested_at < before if before is not None else true(),
        )
        .order_by(pushes_table.c.requested_at)
    )
    return {(row[0], (row[1], row[2])): row[3] for row in tx.execute(query)}
