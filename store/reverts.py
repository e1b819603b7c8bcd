"""Lines of reverts by addition: companies that were summed into one addition are restored together."""

from collections.abc import Collection, Iterator
from collections.abc import Mapping as Map
from datetime import datetime
from typing import NamedTuple

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


class OpenLine(NamedTuple):
    """An open line, with its target."""

    target: Target
    line: Line


def lines_by_addition(tx: Tx, partner_id: str, lines: Collection[Line]) -> LinesByAddition:
    """Of these lines the ones that restore something, with all other lines of the same revert and addition."""
    additions: dict[str, set[Addition]] = {}
    for line in lines:
        if line.restore is not None:
            additions.setdefault(line.push.push_id, set()).add(line.restore.addition)
    by_addition: LinesByAddition = {}
    for push_id, restored in additions.items():
        for line in pushes.lines_restoring(tx, partner_id, push_id, restored):
            if line.restore is not None:
                by_addition.setdefault((push_id, line.restore.tenant, line.restore.addition), []).append(line)
    return by_addition


def other_open_lines(
    tx: Tx, partner_id: str, by_addition: LinesByAddition, known: Map[tuple[str, str], Line]
) -> Iterator[OpenLine]:
    """The open lines among these that are not known already, and whose target is still theirs."""
    every = (line for lines in by_addition.values() for line in lines)
    lines = [line for line in every if line.is_open and line.key not in known]
    stored = targets.of_companies(tx, partner_id, {line.company_id for line in lines})
    for line in lines:
        target = stored.get((line.company_id, line.push.period.key))
        if target is not None and target.push_id == line.push.push_id and target.due_at is not None:
            yield OpenLine(target, line)


def pushed_since(
    tx: Tx, partner_id: str, reverted: Push, before: datetime | None = None
) -> dict[tuple[str, Addition], str]:
    """The periods of newer pushes that have set an addition, or found it as wanted, by (tenant, addition).

    Only pushes requested before `before` count, if it is given. Reverts do not count: they restore older quantities.
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
