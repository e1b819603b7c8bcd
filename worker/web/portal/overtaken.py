"""Lines of a push or a preview that must not be pushed as they were shown, since something newer has come."""

from collections.abc import Sequence

from store import Tx, newest_versions, portal_newer
from store.pushes import Push
from worker.coordination.results import ResultRow

IMPORTED = "other users were imported for it since"
PUSHED = "a newer push was sent for it since"
MAPPED = "its mapping was changed since"


def reasons(tx: Tx, push: Push, rows: Sequence[ResultRow], *, is_retry: bool = False) -> dict[str, str]:
    """Why a line is overtaken, by company id; the others may be pushed.

    A retry of what failed may follow a change of the mapping, which may be its remedy.
    """
    imported = portal_newer.users_since(tx, push)
    pushed = portal_newer.pushed_since(tx, push)
    mapped = {} if is_retry else newest_versions.read(tx, push.partner_id, {row.company_id for row in rows}).mappings
    found: dict[str, str] = {}
    for row in rows:
        if imported is not None and imported.get(row.company_id) != row.billable_users:
            found[row.company_id] = IMPORTED
        elif row.company_id in pushed:
            found[row.company_id] = PUSHED
        elif (changed_at := mapped.get(row.company_id)) is not None and changed_at > push.requested_at:
            found[row.company_id] = MAPPED
    return found


def said(rows: Sequence[ResultRow], found: dict[str, str]) -> str:
    """The first line that is overtaken, why, and how many others; empty if none is."""
    first = next((row for row in rows if row.company_id in found), None)
    if first is None:
        return ""
    others = sum(row.company_id in found for row in rows) - 1
    return f"{first.company_name}: {found[first.company_id]}{f' (and {others:,} more)' if others else ''}."
