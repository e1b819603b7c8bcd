"""The rows of the page of companies: imported users, what is chosen in ConnectWise, and what the last push brought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from messages import BillingPeriod, MappingChecked, PushLine, Suggestion, SyncResult
from store import Tx, mappings, portal
from store.mappings import Mapping as StoredMapping
from worker.catalog import questions
from worker.checks.mapping_check import last_check
from worker.coordination import results
from worker.coordination.results import ResultRow
from worker.coordination.suggesting import Ids
from worker.rules.billable import DATE_REASONS

Names = tuple[str | None, str | None, str | None]

NOTHING: Ids = (None, None, None)


@dataclass(frozen=True)
class CompanyRow:
    """A company of Phin. `users` None = it is not in the import; `pushed_users`: what the result is about.

    `mapped_at`: the time of the mapping that a worker stored; None = none of this ConnectWise, or a newer one is on its
    way to it. `has_later`: a later period was pushed, and no result about this one is kept. `due`: the quantity that
    the addition is to have, of all companies that are mapped to it now; None = not all of them are imported.
    """

    company_id: str
    company_name: str
    users: int | None
    ids: Ids = NOTHING
    names: Names = NOTHING  # type: ignore[assignment]  # no names either
    rule: str = "refuse"
    minimum: int | None = None
    allow_not_billable: bool = False
    is_checking: bool = False
    checked: MappingChecked | None = None
    result: SyncResult | None = None
    pushed_users: int | None = None
    suggestion: Suggestion | None = None
    mapped_at: datetime | None = None
    has_later: bool = False
    due: int | None = None

    @property
    def is_mapped(self) -> bool:
        """True if an addition is chosen."""
        return self.ids[2] is not None

    @property
    def addition(self) -> tuple[int | None, ...]:
        """The ids of agreement and addition."""
        return self.ids[1:]

    @property
    def is_current(self) -> bool:
        """True if the result is about the users that are imported now, and about the mapping as it is now."""
        if self.result is None or self.mapped_at is None:
            return False
        # A revert wants what was there before.
        wanted = None if self.result.reverts else self.result.quantity_wanted
        is_same = self.users == self.pushed_users and wanted in {None, self.due}
        return is_same and self.mapped_at <= self.result.requested_at

    @property
    def is_invalid(self) -> bool:
        """True if the check of the mapping found that it cannot bill the company, and nobody has confirmed it."""
        if self.checked is None or self.checked.status != "invalid":
            return False
        is_written = self.result is not None and self.result.status in {"updated", "unchanged"} and self.is_current
        return not is_written or not {one.code for one in self.checked.problems} <= DATE_REASONS

    @property
    def state(self) -> str:
        """unmapped, failed, held, open, good, changed (since the push), or new: the filter that shows the row."""
        if not self.is_mapped:
            return "unmapped"
        status = self.result.status if self.result else None
        if status == "held" and self.is_current:
            return "held"
        if (status == "failed" and self.is_current) or self.is_invalid:
            return "failed"
        if self.result is None or status in {"skipped", "cancelled", "superseded"} or self.result.reverts:
            return "new"
        if status == "retrying":
            return "open"
        return "good" if self.is_current else "changed"

    @property
    def order(self) -> tuple[int, int, str]:
        """Unmapped first, by users at stake; then what failed, what is held, and the rest by name."""
        place = {"unmapped": 0, "failed": 1, "held": 2}.get(self.state, 3)
        return (place, -(self.users or 0) if place < 3 else 0, self.company_name.casefold())


def read(tx: Tx, partner: str, period_key: str, found: Mapping[str, Sequence[Suggestion]]) -> list[CompanyRow]:
    """All companies: those of the import, and those that are mapped."""
    stored = {one.company_id: one for one in mappings.of_partner(tx, partner)}
    current = questions.connected_mappings(tx, partner)
    chosen = portal.choices(tx, partner)
    imported = {line.company_id: line for line in portal.counts(tx, partner, period_key)}
    found_pushed, later = results.of_period(tx, partner, BillingPeriod.parse(period_key))
    pushed = {row.company_id: row for row in found_pushed}
    mapped = {company_id for company_id, one in current.items() if one.cw_company_id is not None}
    rows = [
        _row(
            company_id,
            imported.get(company_id),
            stored.get(company_id),
            chosen.get(company_id),
            pushed.get(company_id),
            next(iter(found.get(company_id, ())), None),
            is_current=company_id in current,
            has_later=company_id in later,
        )
        for company_id in {*imported, *mapped, *(one for one in chosen if one in imported)}
    ]
    return sorted(_with_sums(rows), key=lambda row: row.order)


def _with_sums(rows: list[CompanyRow]) -> list[CompanyRow]:
    """The rows, each with the quantity that its addition is to have now, of all companies that are mapped to it."""
    sums: dict[object, int | None] = {}
    for row in rows:
        quantity = None if row.users is None else max(row.users, row.minimum or 0)
        before = sums.get(row.addition, 0)
        sums[row.addition] = None if quantity is None or before is None else before + quantity
    return [replace(row, due=sums[row.addition]) if row.is_mapped else row for row in rows]


def _row(
    company_id: str,
    line: PushLine | None,
    stored: StoredMapping | None,
    choice: portal.Choice | None,
    pushed: ResultRow | None,
    suggestion: Suggestion | None,
    *,
    is_current: bool,
    has_later: bool,
) -> CompanyRow:
    is_ahead = choice is not None and (stored is None or choice.event.changed_at > stored.changed_at)
    name = line.company_name if line else stored.company_name if stored else company_id
    of_push = {
        "result": pushed.result if pushed else None,
        "pushed_users": pushed.billable_users if pushed else None,
        "suggestion": suggestion,
        "has_later": has_later,
    }
    users = line.billable_users if line else None
    if choice is not None and is_ahead:
        event = choice.event
        return CompanyRow(
            company_id,
            name,
            users,
            (event.cw_company_id, event.agreement_id, event.addition_id),
            choice.names,
            event.rule,
            event.minimum,
            event.allow_not_billable,
            is_checking=event.cw_company_id is not None,
            **of_push,  # type: ignore[arg-type]  # a result, a number, a suggestion, a truth
        )
    if stored is None or not is_current:
        return CompanyRow(company_id, name, users, **of_push)  # type: ignore[arg-type]  # as above
    checked = last_check(stored)
    seen: Names = choice.names if choice is not None and choice.event.changed_at == stored.changed_at else (None,) * 3
    read_names = (checked.cw_company_name, checked.agreement_name, checked.addition_name) if checked else (None,) * 3
    ids = (stored.cw_company_id, stored.agreement_id, stored.addition_id)
    names = tuple(
        None if number is None else read_name or seen_name or f"#{number}"
        for number, read_name, seen_name in zip(ids, read_names, seen, strict=True)
    )
    return CompanyRow(
        company_id,
        name,
        users,
        ids,
        (names[0], names[1], names[2]),
        stored.rule,
        stored.minimum,
        stored.allow_not_billable,
        is_checking=stored.check_due_at is not None and checked is None,
        checked=checked,
        mapped_at=stored.changed_at,
        **of_push,  # type: ignore[arg-type]  # as above
    )
