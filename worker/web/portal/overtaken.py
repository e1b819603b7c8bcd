"""Pushes and previews that must not be pushed as they were shown, since something newer has come."""

from collections.abc import Iterator, Sequence
from typing import Literal

from store import Tx, newest_versions, portal_newer
from store.pushes import Push
from worker.coordination.results import ResultRow

CONNECTED = "Another ConnectWise is connected since, or none."
IMPORTED = "other users were imported for it since"
ADDED = "it was imported since, and is not in it"
PUSHED = "a newer push has other users of it"
TAKEN_BACK = "it was taken back since"
MAPPED = "its mapping was changed since"

Use = Literal["push", "retry", "preview"]
"""The use of the lines: the push of all, of those that failed, or another preview."""


def why(tx: Tx, push: Push, rows: Sequence[ResultRow], use: Use = "push") -> str:
    """The first reason why these lines must not be used, and how many others there are; empty if there is none.

    A retry is of some companies, and may follow a change of the mapping, which may be its remedy. A preview shows
    whatever else has changed, but its users must be the newest, as it may be pushed.
    """
    if use != "preview" and not portal_newer.is_connected_as_then(tx, push):
        return CONNECTED
    found = list(_reasons(tx, push, rows, use))
    if not found:
        return ""
    name, reason = found[0]
    others = len(found) - 1
    return f"{name}: {reason}{f' (and {others:,} more)' if others else ''}."


def _reasons(tx: Tx, push: Push, rows: Sequence[ResultRow], use: Use) -> Iterator[tuple[str, str]]:
    """The companies that are overtaken, by name, and why."""
    companies = {row.company_id for row in rows}
    imported = portal_newer.imported(tx, push)
    # All counts of a period are imported together.
    is_imported_since = any(count.is_newer for count in imported.values())
    pushed = portal_newer.pushed_since(tx, push)
    mapped = newest_versions.read(tx, push.partner_id, companies).mappings if use == "push" else {}
    for row in rows:
        count, newer = imported.get(row.company_id), pushed.get(row.company_id)
        changed_at = mapped.get(row.company_id)
        if is_imported_since and (count is None or count.users != row.billable_users):
            yield row.company_name, IMPORTED
        elif newer is not None and newer.users is None and use != "preview":
            yield row.company_name, TAKEN_BACK
        elif newer is not None and newer.users not in {None, row.billable_users}:
            yield row.company_name, PUSHED
        elif changed_at is not None and changed_at > push.requested_at:
            yield row.company_name, MAPPED
    if use != "retry" and is_imported_since:
        added = [one for one in imported.values() if one.company_id not in companies]
        yield from ((one.company_name, ADDED) for one in added)
