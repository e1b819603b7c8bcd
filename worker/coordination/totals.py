"""The sum of a push that closes: what was imported is what became of it; and the mapped companies that were absent."""

from collections.abc import Sequence
from typing import Any

from messages import FINAL, Absent
from store import Tx, absent, completions, pushes
from worker.coordination.results import ResultRow
from worker.sync.completion import absent_message, term

WORDS = {
    "written": "written",
    "unchanged": "unchanged",
    "held": "held",
    "skipped": "not mapped",
    "failed": "failed",
    "superseded": "superseded",
    "cancelled": "cancelled",
    "waiting": "waiting",
}
"""The terms of the sum in their order, and their names in the output."""

Sum = dict[str, tuple[int, int]]
"""(companies, users) by term, `imported` first."""


def sum_of(rows: Sequence[ResultRow]) -> Sum:
    """Count the lines of a push, those without a final answer as `waiting`."""
    found: Sum = {"imported": (len(rows), sum(row.billable_users for row in rows))}
    for name in WORDS:
        users = [row.billable_users for row in rows if _term(row) == name]
        if users:
            found[name] = (len(users), sum(users))
    return found


def absent_from(tx: Tx, partner_id: str, push_id: str | None) -> tuple[str, Absent] | None:
    """The mapped companies that were absent from a push, or without one from the newest period, and its name.

    Of a completed push it is what was absent at its completion. None = nothing was pushed, or it is a revert.
    """
    if push_id is None:
        newest = absent.of_newest_period(tx, partner_id)
        return None if newest is None else (f"any push of {newest.period_key}", absent_message(newest.companies))
    push = pushes.find(tx, partner_id, push_id)
    if push is None or push.mode == "revert":
        return None
    ended = completions.of_push(tx, partner_id, push_id)
    if ended is not None:
        return None if ended.absent is None else ("this push", ended.absent)
    return "this push", absent_message(absent.of_push(tx, partner_id, push_id))


def as_json(found: Sum | None, missing: tuple[str, Absent] | None) -> dict[str, Any]:
    """Make the fields `totals` and `absent` of the JSON document; each null if there is none."""
    totals = {name: {"companies": one[0], "users": one[1]} for name, one in (found or {}).items()}
    return {"totals": totals or None, "absent": missing and missing[1].model_dump(mode="json")}


def _term(row: ResultRow) -> str:
    if row.result is None or row.status not in FINAL:
        return "waiting"
    return term(row.status, changes=row.result.quantity_before != row.result.quantity_wanted)
