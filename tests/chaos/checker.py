"""The judge: finds in a history whatever breaks a promise of the worker. Pure; a column for each promise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from messages import ConnectionChecked, MappingChanged, MappingChecked, PushCompleted, PushRequested, SyncResult
from tests.chaos.history import Days, Entry, History, Patch, Place, Target, by_place

# A line that ends so is not the coordinator's to mend alone: it waits for an operator in a dead letter.
BURIED = frozenset({
    "address_forbidden", "address_not_https", "address_unreadable", "bad_credentials", "ca_bundle_unreadable",
    "certificate", "certificate_expired", "certificate_name", "certificate_untrusted", "exhausted", "key_mismatch",
    "key_unreadable", "missing_agreement_edit", "missing_agreement_inquire", "missing_company_inquire",
    "not_connectwise", "unexpected", "unknown_company", "wrong_route",
})  # fmt: skip
# Faults after which ConnectWise's client cannot know that its PATCH was applied.
ANSWER_LOST = frozenset({"lost_response", "hang", "broken_json", "slow_drip", "huge_body", "endless_body"})

Findings = dict[str, list[str]]


def check(history: History) -> Findings:
    """The findings of each column; empty lists = the promises held."""
    case = _Case(history)
    return {name: list(column(case)) for name, column in COLUMNS.items()}


@dataclass(frozen=True)
class Written:
    """An applied PATCH with the ledger row that stands for it; None if there is no such row."""

    patch: Patch
    entry: Entry | None


class _Case:
    """A history with its PATCHes matched to ledger rows: the k-th applied one to the k-th row of one that was."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.pushes, self.mappings, self.final = history.pushes, history.mappings, history.final
        applied = by_place(history.patches)
        entries: dict[Place, list[Entry]] = {}
        for entry in sorted(history.entries, key=lambda entry: entry.id):
            entries.setdefault(entry.place, []).append(entry)
        self.rows = {place: _written(some, applied.get(place, [])) for place, some in entries.items()}
        self.written: dict[Place, list[Written]] = {}
        for place, patches in applied.items():
            rows = [*self.rows.get(place, []), *[None] * len(patches)]
            self.written[place] = [Written(patch, row) for patch, row in zip(patches, rows, strict=False)]

    def result(self, target: Target) -> SyncResult | None:
        """The final result of the push that the target is of."""
        return next(iter(self.final.get((target.push_id, target.company_id), {}).values()), None)


def _written(entries: Sequence[Entry], patches: Sequence[Patch]) -> list[Entry]:
    """The rows of writes that were applied: those that say so, and those `unknown` that an applied PATCH fits.

    A row ends as `unknown` if the worker died with its PATCH, and the addition could not be read any more.
    """
    rows: list[Entry] = []
    certain = sum(entry.outcome == "written" for entry in entries)
    for entry in entries:
        left = patches[len(rows) :]
        if entry.outcome == "written":
            rows.append(entry)
            certain -= 1
        elif (
            entry.outcome == "unknown"
            and len(left) > certain
            and (left[0].before, left[0].value) == (entry.before, entry.wanted)
        ):
            rows.append(replace(entry, outcome="written", after=entry.wanted))
    return rows


def lost(case: _Case) -> Iterator[str]:
    """An event without an outcome or with an undeserved one, or a green check over an addition with another value."""
    history = case.history
    for kind in history.blamed:
        yield f"a good {kind} is a dead letter, as if it had killed the worker or met a bug"
    for (partner, company), versions in case.mappings.items():
        if history.stored.get((partner, company)) != versions[-1].changed_at:
            yield f"mapping of {partner} {company}: the newest version {versions[-1].changed_at} is not stored"
    for partner, changed_at in history.connections.items():
        if history.stored.get((partner, "")) != changed_at:
            yield f"connection of {partner}: the newest version {changed_at} is not stored"
    yield from _unchecked(case)
    for (push_id, company), results in case.final.items():
        for result in results.values():
            code = result.problem.code if result.problem else ""
            if result.status == "failed" and code in BURIED and (push_id, company) not in history.buried:
                yield f"line {push_id} {company} failed ({code}) without a dead letter"
    for target in history.targets:
        if not target.settled:
            yield f"target of {target.partner_id} {company_of(target)} (push {target.push_id}) is still due"
    for place, (quantity, why) in _held(case).items():
        holds = history.quantities.get(place)
        if holds != quantity:
            yield f"addition {place} holds {holds}, but {why} {quantity}"


def _unchecked(case: _Case) -> Iterator[str]:
    checked = {
        (message.partner_id, message.company_id if isinstance(message, MappingChecked) else "", message.changed_at)
        for message in case.history.received
        if isinstance(message, MappingChecked | ConnectionChecked)
    }
    for (partner, company), versions in case.mappings.items():
        if (partner, company, versions[-1].changed_at) not in checked:
            yield f"mapping of {partner} {company} of {versions[-1].changed_at} was not answered by mapping.checked"
    for partner, changed_at in case.history.connections.items():
        if (partner, "", changed_at) not in checked:
            yield f"connection of {partner} of {changed_at} was not answered by connection.checked"


def _held(case: _Case) -> dict[Place, tuple[float | None, str]]:
    """The quantity each addition is to hold, and who says so: the newest push of the newest period, and of it the last.

    A green check says so, or a write: a newer push may have found its company unmapped since, and changed nothing. Of
    one push, the newest of its companies, the last green check counts, unless a company was written later that has none
    there: it was mapped elsewhere once it was written, and its line decided anew.
    """
    claims: dict[Place, list[tuple[Days, datetime, datetime, float | None, str]]] = {}
    green: dict[tuple[Place, str], set[str]] = {}
    for target in case.history.targets:
        told = case.result(target)
        if target.addition_id is not None and told is not None and told.status in {"updated", "unchanged"}:
            why = f"{company_of(target)} of push {target.push_id} was told {told.status} to"
            claim = (target.period, told.requested_at, told.time, told.quantity_after, why)
            place = (target.partner_id, target.addition_id)
            claims.setdefault(place, []).append(claim)
            green.setdefault((place, target.push_id), set()).add(target.company_id)
    for place, written in case.written.items():
        for patch, row in ((one.patch, one.entry) for one in written):
            push = case.pushes.get(row.push_id) if row else None
            if row is None or push is None:
                continue
            if row.companies and green.get((place, row.push_id), set()).issuperset(row.companies):
                continue  # their green check says it
            claim = (row.period, push.requested_at, patch.time, row.after, f"push {row.push_id} wrote")
            claims.setdefault(place, []).append(claim)
    newest = {place: max(reversed(some), key=lambda claim: claim[:3]) for place, some in claims.items()}
    return {place: claim[3:] for place, claim in newest.items()}


def doubled(case: _Case) -> Iterator[str]:
    """The same value written twice to one addition for one target, although the first answer was not lost."""
    for place, written in case.written.items():
        seen: dict[tuple[str, float], Patch] = {}
        for one in written:
            push_id = one.entry.push_id if one.entry else ""
            first = seen.setdefault((push_id, one.patch.value), one.patch)
            again = first is not one.patch and one.entry is not None
            idle = one.patch.before == one.patch.value
            if (again or idle) and first.fault not in ANSWER_LOST:
                yield f"addition {place}: {one.patch.value} was written again at {one.patch.time} for push {push_id}"


def stale(case: _Case) -> Iterator[str]:
    """A value of an older request after one of a newer request; or of an older period over a newer one's."""
    for place, written in case.written.items():
        newest: dict[tuple[object, str], PushRequested] = {}
        latest: Entry | None = None
        for one in written:
            push = case.pushes.get(one.entry.push_id) if one.entry else None
            if one.entry is None or push is None:
                continue
            for company in one.entry.companies:
                before = newest.setdefault((one.entry.period, company), push)
                if _version(push) < _version(before):
                    yield f"addition {place}: {company} of push {push.push_id} was written after {before.push_id}"
                newest[one.entry.period, company] = max(before, push, key=_version)
            if latest is not None and one.entry.period < latest.period:
                yield f"addition {place}: {one.entry.period[0]} was written over {latest.period[0]} at {one.patch.time}"
            latest = one.entry if latest is None or latest.period <= one.entry.period else latest


def _version(push: PushRequested) -> tuple[object, ...]:
    return (push.requested_at, push.push_id)


def wrong_addition(case: _Case) -> Iterator[str]:
    """A PATCH to an addition that no mapping valid for its line named: none since the version that the line saw."""
    for place, written in case.written.items():
        for one in written:
            companies = one.entry.companies if one.entry else ()
            push = case.pushes.get(one.entry.push_id) if one.entry else None
            for company in companies:
                valid = list(_valid(case, place[0], company, push))
                if place[1] not in {mapping.addition_id for mapping in valid}:
                    yield f"addition {place} was written at {one.patch.time} for {company}, which is mapped elsewhere"
            if not companies and not _ever_named(case, place):
                yield f"addition {place} was written at {one.patch.time}, and no mapping ever named it"


def _valid(case: _Case, partner: str, company: str, push: PushRequested | None) -> Iterator[MappingChanged]:
    seen = next((line.mapping_changed_at for line in push.lines if line.company_id == company), None) if push else None
    for mapping in case.mappings.get((partner, company), []):
        if seen is None or mapping.changed_at >= seen:
            yield mapping


def _ever_named(case: _Case, place: Place) -> bool:
    return any(
        mapping.addition_id == place[1]
        for (partner, _), versions in case.mappings.items()
        if partner == place[0]
        for mapping in versions
    )


def wrong_ledger(case: _Case) -> Iterator[str]:
    """An applied PATCH and its row differ, or one of them has no other; or a row is still open."""
    for entry in case.history.entries:
        if entry.outcome is None:
            yield f"ledger row {entry.id} of addition {entry.place} is open"
    for place in sorted(case.written.keys() | case.rows.keys()):
        patches = [(one.patch.before, one.patch.value, one.patch.value) for one in case.written.get(place, [])]
        rows = [(row.before, row.wanted, row.after) for row in case.rows.get(place, [])]
        if patches != rows:
            yield f"addition {place}: applied (before, wanted, after) {patches}, in the ledger {rows}"


def results(case: _Case) -> Iterator[str]:
    """A line of a push without exactly one final result, or a result of a line that nobody asked for."""
    asked = {(push.push_id, line.company_id) for push in case.pushes.values() for line in push.lines}
    for key in sorted(asked | case.final.keys()):
        ids = case.final.get(key, {})
        if len(ids) != 1 or key not in asked:
            said = ", ".join(sorted(result.status for result in ids.values())) or "none"
            yield f"line {key}: {len(ids)} final results ({said})"


def completions(case: _Case) -> Iterator[str]:
    """A push without exactly one completion, or one whose counts are not those of its lines."""
    ids: dict[str, dict[str, PushCompleted]] = {push_id: {} for push_id in case.pushes}
    for message in case.history.received:
        if isinstance(message, PushCompleted):
            ids.setdefault(message.push_id, {})[str(message.id)] = message
    for push_id, completed in ids.items():
        if len(completed) != 1 or push_id not in case.pushes:
            yield f"push {push_id}: {len(completed)} completions"
            continue
        told = {status: n for status, n in next(iter(completed.values())).counts.model_dump().items() if n}
        counted: dict[str, int] = {}
        for line in case.pushes[push_id].lines:
            for result in case.final.get((push_id, line.company_id), {}).values():
                counted[result.status] = counted.get(result.status, 0) + 1
        if told != counted:
            yield f"push {push_id} was completed with {told}, its lines ended {counted}"


def out_of_memory(case: _Case) -> Iterator[str]:
    """A worker that took more memory than a container gives it."""
    for worker in case.history.starved:
        yield f"{worker} took more memory than its limit, and was ended"


def company_of(target: Target) -> str:
    """For a finding."""
    return f"{target.partner_id} {target.company_id} {target.period[0]}"


COLUMNS: Mapping[str, Callable[[_Case], Iterator[str]]] = {
    "lost": lost,
    "doubled": doubled,
    "stale": stale,
    "wrong addition": wrong_addition,
    "wrong ledger": wrong_ledger,
    "not one final result": results,
    "not one completion": completions,
    "out of memory": out_of_memory,
}
