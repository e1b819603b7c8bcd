"""Pushes and previews that must not be pushed as they were shown, since something newer has come."""

from collections.abc import Iterator, Sequence

from store import Tx, newest_versions, portal_newer
from store.pushes import Push
from worker.coordination.results import ResultRow

CONNECTED = "Another ConnectWise is connected since, or none."
IMPORTED = "other users were imported for it since"
ADDED = "it was imported since, and is not in it"
PUSHED = "a newer push was sent for it since"
TAKEN_BACK = "it was taken back since"
MAPPED = "its mapping was changed since"


def why(tx: Tx, push: Push, rows: Sequence[ResultRow], *, is_retry: bool = False) -> str:
    """The first reason why these lines must not be pushed, and how many others there are; empty if there is none.

    A retry of what failed is of some companies, and may follow a change of the mapping, which may be its remedy.
    """
    if not portal_newer.is_connected_as_then(tx, push):
        return CONNECTED
    found = list(_reasons(tx, push, rows, is_retry=is_retry))
    if not found:
        return ""
    name, reason = found[0]
    others = len(found) - 1
    return f"{name}: {reason}{f' (and {others:,} more)' if others else ''}."


def _reasons(tx: Tx, push: Push, rows: Sequence[ResultRow], *, is_retry: bool) -> Iterator[tuple[str, str]]:
    """The companies that are overtaken, by name, and why."""
    companies = {row.company_id for row in rows}
    imported = portal_newer.imported(tx, push)
    pushed = portal_newer.pushed_since(tx, push)
    mapped = {} if is_retry else newest_versions.read(tx, push.partner_id, companies).mappings
    for row in rows:
        count = imported.get(row.company_id)
        if imported and (count is None or count.users != row.billable_users):
            yield row.company_name, IMPORTED
        elif row.company_id in pushed:
            yield row.company_name, TAKEN_BACK if "revert" in pushed[row.company_id] else PUSHED
        elif (changed_at := mapped.get(row.company_id)) is not None and changed_at > push.requested_at:
            yield row.company_name, MAPPED
    if not is_retry:
        added = [one for one in imported.values() if one.is_newer and one.company_id not in companies]
        yield from ((one.company_name, ADDED) for one in added)
