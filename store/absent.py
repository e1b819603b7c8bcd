"""Mapped companies that a push, or a whole period, does not mention: ConnectWise goes on billing them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, exists, func, select, true

from store import connections
from store.any_of import any_of
from store.database import Tx, db_now
from store.past_writes import last_written_rows
from store.pushes import chunks
from store.schema import company_status, mappings, push_lines, syncs

AT_ONCE = 500

NOT_BILLED = frozenset(
    {
        "addition_cancelled",
        "addition_not_active",
        "agreement_cancelled",
        "agreement_expired",
        "agreement_inactive",
        "agreement_not_active",
        "not_billable",
    }
)
"""Problem codes under which ConnectWise bills nothing, from the day that they name."""

WRITTEN = frozenset({"updated", "unchanged"})


@dataclass(frozen=True)
class UnpushedCompany:
    """A mapped company that is absent. `quantity` is still billed for it, as far as is known; None = not known.

    `not_billed`: ConnectWise bills nothing for it, so its quantity is 0.
    """

    company_id: str
    company_name: str
    quantity: float | None
    not_billed: bool = False


@dataclass(frozen=True)
class _Observation:
    """The state of an addition as a check, a result or a write showed it; None = it did not show this.

    `last_day`: the last one that is certainly billed, or, if it is `not_billed`, the last one that was.
    """

    at: datetime
    quantity: float | None
    not_billed: bool | None = None
    last_day: str | None = None


class AbsentInPeriod(NamedTuple):
    """The companies that no push of this period mentioned."""

    period_key: str
    companies: list[UnpushedCompany]


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[UnpushedCompany]:
    """The companies that have no line in this push, by company id."""
    mine = (push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
    return _absent(tx, partner_id, ~exists().where(*mine, push_lines.c.company_id == mappings.c.company_id))


def of_pushes(tx: Tx, partner_id: str, push_ids: Sequence[str]) -> dict[str, list[UnpushedCompany]]:
    """The companies that have no line in each of these pushes, by push id. Many pushes cost little more than one."""
    if len(push_ids) < 2:
        return {push_id: of_push(tx, partner_id, push_id) for push_id in push_ids}
    mapped = _absent(tx, partner_id, true())
    pushed: dict[str, set[str]] = {push_id: set() for push_id in push_ids}
    for some in chunks(push_ids, AT_ONCE):
        which = (push_lines.c.partner_id == partner_id, push_lines.c.push_id.in_(some))
        for push_id, company_id in tx.execute(select(push_lines.c.push_id, push_lines.c.company_id).where(*which)):
            pushed[push_id].add(company_id)
    return {
        push_id: [company for company in mapped if company.company_id not in companies]
        for push_id, companies in pushed.items()
    }


def of_newest_period(tx: Tx, partner_id: str) -> AbsentInPeriod | None:
    """The absent companies of the newest period that was pushed; None = nothing was pushed."""
    newest = select(syncs.c.period_key).where(syncs.c.partner_id == partner_id)
    key = tx.execute(newest.order_by(syncs.c.period_start.desc(), syncs.c.period_end.desc()).limit(1)).scalar()
    if key is None:
        return None
    mine = (syncs.c.partner_id == partner_id, syncs.c.period_key == key)
    is_absent = ~exists().where(*mine, syncs.c.company_id == mappings.c.company_id)
    return AbsentInPeriod(key, _absent(tx, partner_id, is_absent))


def _absent(tx: Tx, partner_id: str, is_absent: ColumnElement[bool]) -> list[UnpushedCompany]:
    """The absent companies that are mapped to an addition of the ConnectWise that was connected last.

    The quantity still billed is the newest known without asking ConnectWise: from the company's last result, its last
    check, or the last write. If several companies share the addition, it is the users that the company was last pushed
    with, since the addition also holds those of the others. Nothing is billed if the newest check or result that can
    tell says so.
    """
    mapped = (mappings.c.partner_id == partner_id, mappings.c.addition_id.is_not(None))
    found = tx.execute(select(*_OF_MAPPING).where(*mapped, is_absent).order_by(mappings.c.company_id)).all()
    if not found:
        return []
    history = connections.tenant_history(tx, partner_id)
    tenant = next((tenant for _, tenant in reversed(history) if tenant), None)
    absent = [row for row in found if connections.tenant_at(history, row.changed_at) == tenant]
    observations = {row.company_id: [_from_check(row.check_json)] if row.check_json else [] for row in absent}
    for company_id, observation in _from_results(tx, partner_id, absent):
        observations[company_id].append(observation)
    addition = (mappings.c.agreement_id, mappings.c.addition_id)
    several = select(*addition).where(*mapped).group_by(*addition).having(func.count() > 1)
    shared = {(row[0], row[1]) for row in tx.execute(several)}
    alone = [row for row in absent if (row.agreement_id, row.addition_id) not in shared]
    quantities = _last_pushed(tx, partner_id, [row for row in absent if (row.agreement_id, row.addition_id) in shared])
    companies = {(row.agreement_id, row.addition_id): row.company_id for row in alone}
    for write in last_written_rows(tx, partner_id, tenant or "", companies):
        company_id = companies[write.agreement_id, write.addition_id]
        observations[company_id].append(_Observation(write.closed_at, write.quantity_after))
    for row in alone:
        known = [observation for observation in observations[row.company_id] if observation.quantity is not None]
        if known:
            quantities[row.company_id] = max(known, key=lambda observation: observation.at).quantity or 0
    return [
        UnpushedCompany(row.company_id, row.company_name, 0, not_billed=True)
        if _is_not_billed(observations[row.company_id])
        else UnpushedCompany(row.company_id, row.company_name, quantities.get(row.company_id))
        for row in absent
    ]


_OF_MAPPING = (
    mappings.c.company_id,
    mappings.c.company_name,
    mappings.c.changed_at,
    mappings.c.agreement_id,
    mappings.c.addition_id,
    mappings.c.minimum,
    mappings.c.check_json,
)


def _is_not_billed(observations: Sequence[_Observation]) -> bool:
    """True if the newest observation that can tell says that ConnectWise bills nothing.

    A late push of a period up to the end that was found before does not say that there is none.
    """
    judged = [observation for observation in observations if observation.not_billed is not None]
    newest = max(judged, key=lambda observation: observation.at, default=None)
    if newest is None or newest.not_billed or newest.last_day is None:
        return newest is not None and bool(newest.not_billed)
    ends = [observation.last_day for observation in judged if observation.not_billed]
    return any(end is not None and newest.last_day <= end for end in ends)


def _last_pushed(tx: Tx, partner_id: str, absent: Sequence[Any]) -> dict[str, float]:
    """The users of the newest settled push of these companies, at least their minimum."""
    if not absent:
        return {}
    minimum = {row.company_id: row.minimum or 0 for row in absent}
    pushed = tx.execute(_LAST_PUSHED, {"partner": partner_id, "companies": minimum.keys()})
    return {company_id: max(count, minimum[company_id]) for company_id, count in pushed}


_LAST_PUSHED = (
    select(syncs.c.company_id, syncs.c.billable_users)
    .where(
        syncs.c.partner_id == bindparam("partner"),
        any_of(syncs.c.company_id, "companies"),
        syncs.c.settled_addition_id.is_not(None),
        syncs.c.due_at.is_(None),
    )
    .order_by(syncs.c.period_start, syncs.c.period_end)
)


def _from_check(text: str) -> _Observation:
    check = json.loads(text)
    ends = [problem for problem in check.get("problems", ()) if problem["code"] in NOT_BILLED]
    not_billed = check.get("billable") is False or bool(ends)
    last_day = max(filter(None, map(_last_day, ends)), default=None)
    return _Observation(datetime.fromisoformat(check["time"]), check.get("quantity"), not_billed, last_day)


def _from_results(tx: Tx, partner_id: str, absent: Sequence[Any]) -> list[tuple[str, _Observation]]:
    """The last result of each of these companies, by company id, unless it is older than the mapping."""
    since = {row.company_id: row.changed_at for row in absent}
    observations = []
    for company_id, text, now in tx.execute(_ANSWERED, {"partner": partner_id, "companies": since.keys()}):
        result = json.loads(text)
        at = datetime.fromisoformat(result["time"])
        if at >= since[company_id]:
            after = result["quantity_after"]
            quantity = result["quantity_before"] if after is None else after
            last_day = result["period"]["end"] if result["status"] in WRITTEN else None
            not_billed = _not_billed_by_result(result, now.date())
            observations.append((company_id, _Observation(at, quantity, not_billed, last_day)))
    return observations


_ANSWERED = select(company_status.c.company_id, company_status.c.result_json, db_now()).where(
    company_status.c.partner_id == bindparam("partner"), any_of(company_status.c.company_id, "companies")
)


def _not_billed_by_result(result: dict[str, Any], today: date) -> bool | None:
    """None if the result cannot tell, since the line ended for another reason.

    A line that was written tells it, too: a mapping may allow an addition that is not Billable.
    """
    if result.get("billable") is False:
        return True
    if result["status"] in WRITTEN:
        return False
    problems = [*result.get("reasons", ()), *([result["problem"]] if result.get("problem") else [])]
    ends = [problem for problem in problems if problem["code"] in NOT_BILLED]
    return any(_is_over(end, today) for end in ends) if ends else None


# The day of a record's end stands in the problem's own words only.
_DAY = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")


def _is_over(end: dict[str, Any], today: date) -> bool:
    """True unless the end has a day that is still to come: the period of a line may reach beyond that."""
    last_day = _last_day(end)
    return last_day is None or last_day < today.isoformat()


def _last_day(end: dict[str, Any]) -> str | None:
    days: list[str] = _DAY.findall(end["detail"])
    return days[-1] if days else None
