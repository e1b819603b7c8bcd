"""The judge of `make chaos` finds each broken promise in a history made by hand, and passes a good one."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messages import (
    BillingPeriod,
    ConnectionChanged,
    LineCounts,
    MappingChanged,
    MappingChecked,
    Message,
    Problem,
    PushCompleted,
    PushLine,
    PushRequested,
    SyncResult,
)
from tests.chaos.checker import COLUMNS, check
from tests.chaos.history import Entry, History, Patch, Target

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOVEMBER, DECEMBER = BillingPeriod.parse("2026-11"), BillingPeriod.parse("2026-12")


def at(minute: float) -> datetime:
    """A time so many minutes into the history."""
    return START + timedelta(minutes=minute)


def mapping(minute: float, addition_id: int | None = 11, company: str = "c1") -> MappingChanged:
    """The company's mapping of that minute."""
    return MappingChanged(
        partner_id="p",
        correlation_id="q",
        changed_at=at(minute),
        company_id=company,
        company_name="Acme",
        cw_company_id=1,
        agreement_id=7,
        addition_id=addition_id,
    )


def checked(minute: float, company: str = "c1") -> MappingChecked:
    """The answer to that mapping."""
    return MappingChecked(
        partner_id="p", correlation_id="q", company_id=company, changed_at=at(minute), status="complete"
    )


def push(minute: float, users: int, period: BillingPeriod = NOVEMBER, saw: float = 0) -> PushRequested:
    """A push of that minute, whose sender saw the mapping of minute `saw`."""
    return PushRequested(
        partner_id="p",
        correlation_id="q",
        push_id=f"push-{minute:g}",
        period=period,
        requested_at=at(minute),
        requested_by="ana",
        mode="apply",
        lines=(PushLine(company_id="c1", company_name="Acme", billable_users=users, mapping_changed_at=at(saw)),),
    )


def result(of: PushRequested, status: str = "updated", **changes: Any) -> SyncResult:
    """The answer to the push's line."""
    users = float(of.lines[0].billable_users)
    fields: dict[str, Any] = {"company_id": "c1", "quantity_wanted": users, "quantity_after": users}
    return SyncResult(
        partner_id="p",
        correlation_id="q",
        push_id=of.push_id,
        period=of.period,
        requested_at=of.requested_at,
        sequence=0,
        status=status,  # type: ignore[arg-type] # a test's
        **fields | changes,
    )


def completed(of: PushRequested, **counts: int) -> PushCompleted:
    """The completion of the push."""
    return PushCompleted(
        partner_id="p",
        correlation_id="q",
        push_id=of.push_id,
        status="completed",
        counts=LineCounts(**counts or {"updated": 1}),
    )


def entry(of: PushRequested, number: int, before: float, **changes: Any) -> Entry:
    """A ledger row of the push."""
    wanted = float(of.lines[0].billable_users)
    period = (of.period.start, of.period.end)
    row = Entry(number, "p", 11, of.push_id, ("c1",), period, before, wanted, wanted, "written")
    return replace(row, **changes)


def target(of: PushRequested, **changes: Any) -> Target:
    """The row of syncs after the push."""
    return replace(
        Target("p", "c1", (of.period.start, of.period.end), of.push_id, settled=True, addition_id=11), **changes
    )


OLDER, NEWER = push(1, 5), push(2, 8)


def good() -> History:
    """Two pushes of one company, each written and told once."""
    return History(
        published=[mapping(0), OLDER, NEWER, OLDER],
        received=[
            checked(0),
            result(OLDER, "retrying", next_attempt_at=at(3), quantity_after=None),
            *(first := [result(OLDER)]),
            completed(OLDER),
            *first,
            result(NEWER),
            completed(NEWER),
        ],
        patches=[Patch("p", 11, 1.0, 5.0), Patch("p", 11, 5.0, 8.0)],
        entries=[entry(OLDER, 1, 1.0), entry(OLDER, 2, 5.0, outcome="not_sent", after=None), entry(NEWER, 3, 5.0)],
        targets=[target(NEWER)],
        stored={("p", "c1"): at(0)},
        quantities={("p", 11): 8.0, ("p", 12): 1.0},
    )


@dataclass(frozen=True)
class Spoiled:
    """A good history with changes, and the column that must find them."""

    column: str
    changes: dict[str, Any]
    others: tuple[str, ...] = ()


def written(*of: tuple[PushRequested, float], addition_id: int = 11) -> dict[str, Any]:
    """PATCHes and rows that correspond, one after the other."""
    before, patches, entries = 1.0, [], []
    for number, (wanted_by, value) in enumerate(of):
        patches.append(Patch("p", addition_id, before, value))
        entries.append(entry(wanted_by, number, before, wanted=value, after=value, addition_id=addition_id))
        before = value
    return {"patches": patches, "entries": entries, "quantities": {("p", addition_id): before, ("p", 11): 8.0}}


def told(*messages: Message) -> dict[str, Any]:
    """The messages that the platform received."""
    return {"received": [checked(0), *messages]}


FAILED = Problem(code="exhausted", title="t", detail="d", fix="f")
CONNECTED = ConnectionChanged(partner_id="p", correlation_id="q", changed_at=at(0), disconnected=True)
FROM_DECEMBER = push(3, 9, DECEMBER)
BOTH = (result(OLDER), completed(OLDER), result(NEWER), completed(NEWER))

SPOILED = {
    "mapping not stored": Spoiled("lost", {"stored": {}}),
    "older mapping stored": Spoiled("lost", {"published": [mapping(0), mapping(0.5), OLDER, NEWER]}),
    "mapping not answered": Spoiled("lost", {"received": BOTH}),
    "connection not stored": Spoiled("lost", {"published": [CONNECTED, mapping(0), OLDER, NEWER]}),
    "innocent blamed": Spoiled("lost", {"blamed": ["mapping.changed.v1"]}),
    "target still due": Spoiled("lost", {"targets": [target(NEWER, settled=False)]}),
    "green check, other value": Spoiled("lost", {"quantities": {("p", 11): 5.0}}),
    "given up without a dead letter": Spoiled(
        "lost",
        told(
            result(OLDER),
            completed(OLDER),
            result(NEWER, "failed", problem=FAILED, quantity_after=None),
            completed(NEWER, failed=1),
        ),
    ),
    "written twice for one target": Spoiled("doubled", written((OLDER, 5), (NEWER, 8), (NEWER, 9), (NEWER, 8))),
    "written where it was": Spoiled("doubled", written((OLDER, 5), (NEWER, 8), (NEWER, 8))),
    "older push after newer": Spoiled("stale", written((NEWER, 8), (OLDER, 5))),
    "older period over newer": Spoiled(
        "stale",
        {"published": [mapping(0), OLDER, FROM_DECEMBER], **written((FROM_DECEMBER, 9), (OLDER, 8))}
        | told(result(OLDER), completed(OLDER), result(FROM_DECEMBER), completed(FROM_DECEMBER)),
        ("lost",),
    ),
    "addition of nobody": Spoiled(
        "wrong addition", {"patches": [*good().patches, Patch("p", 12, 1.0, 3.0)]}, ("wrong ledger",)
    ),
    "addition of before": Spoiled(
        "wrong addition",
        {"published": [mapping(-1, 12), mapping(0), OLDER, NEWER], **written((OLDER, 5), (NEWER, 8), addition_id=12)},
    ),
    "row still open": Spoiled("wrong ledger", {"entries": [*good().entries, entry(NEWER, 9, 8.0, outcome=None)]}),
    "write without a row": Spoiled("wrong ledger", {"entries": good().entries[:-1]}),
    "row without a write": Spoiled("wrong ledger", {"entries": [*good().entries, entry(NEWER, 9, 8.0)]}),
    "another before": Spoiled("wrong ledger", {"entries": [entry(OLDER, 1, 2.0), entry(NEWER, 3, 5.0)]}),
    "no final result": Spoiled("not one final result", told(BOTH[0], *BOTH[1:2], BOTH[3]), ("not one completion",)),
    "two final results": Spoiled("not one final result", told(*BOTH, result(NEWER)), ("not one completion",)),
    "result of nobody": Spoiled("not one final result", told(*BOTH, result(push(9, 1)))),
    "no completion": Spoiled("not one completion", told(*BOTH[:3])),
    "two completions": Spoiled("not one completion", told(*BOTH, completed(NEWER))),
    "completion with other counts": Spoiled("not one completion", told(*BOTH[:3], completed(NEWER, failed=1))),
    "worker out of memory": Spoiled("out of memory", {"starved": ["worker-3"]}),
}


def test_good_history_passes() -> None:
    """Repeats with the same id, delays, and writes that were never sent are no findings."""
    assert check(good()) == {name: [] for name in COLUMNS}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED.keys())
def test_broken_promise_is_found(spoiled: Spoiled) -> None:
    """Each way to break a promise is found in its column, and in no other that it does not concern."""
    found = {name for name, findings in check(replace(good(), **spoiled.changes)).items() if findings}
    assert found == {spoiled.column, *spoiled.others}


def test_what_a_skipped_line_leaves_is_no_finding() -> None:
    """December was written, and pushed again when its company was not mapped any more: it is held, not November."""
    later = push(4, 7, DECEMBER)
    changes = written((OLDER, 5), (FROM_DECEMBER, 9)) | {"quantities": {("p", 11): 9.0}}
    skipped = result(later, "skipped", problem=FAILED, quantity_after=None)
    history = replace(
        good(),
        published=[mapping(0), OLDER, FROM_DECEMBER, later],
        received=[
            *(checked(0), result(OLDER), completed(OLDER), result(FROM_DECEMBER), completed(FROM_DECEMBER)),
            *(skipped, completed(later, skipped=1)),
        ],
        targets=[target(OLDER), target(later, addition_id=None)],
        **changes,
    )
    assert check(history) == {name: [] for name in COLUMNS}
    assert check(replace(history, quantities={("p", 11): 5.0}))["lost"] != []


@pytest.mark.parametrize("applied", [True, False])
def test_write_of_unknown_end_may_have_been_applied_or_not(*, applied: bool) -> None:
    """A worker died with its PATCH, and the addition could not be read after: the ledger says so, and is not wrong."""
    changes = written((OLDER, 5), (NEWER, 8))
    changes["entries"][0] = replace(changes["entries"][0], outcome="unknown", after=None)
    if not applied:
        changes["entries"][1] = replace(changes["entries"][1], before=1.0)
        changes["patches"] = [replace(changes["patches"][1], before=1.0)]
    gone = Problem(code="restricted_agreement", title="t", detail="d", fix="f")
    given_up = [result(OLDER, "failed", problem=gone, quantity_after=None), completed(OLDER, failed=1)]
    history = replace(good(), **changes, **told(*given_up, *BOTH[2:]))
    assert check(history) == {name: [] for name in COLUMNS}
    lost = replace(history, entries=[replace(one, before=7.0) for one in history.entries])
    assert check(lost)["wrong ledger"] != []


def test_of_one_push_the_last_write_counts() -> None:
    """A sum is written again when a company joins it, and its lines may end otherwise: that is no finding."""
    gone = Problem(code="superseded", title="t", detail="d", fix="f")
    history = replace(
        good(),
        **written((OLDER, 5), (NEWER, 8), (NEWER, 10)) | {"quantities": {("p", 11): 10.0}},
        **told(
            *BOTH[:2], result(NEWER, "superseded", problem=gone, quantity_after=None), completed(NEWER, superseded=1)
        ),
        targets=[],
    )
    assert check(history) == {name: [] for name in COLUMNS}


def test_of_one_push_a_write_counts_after_the_green_check_of_another_company() -> None:
    """Two companies exchange their additions while they are pushed: the second is written to both, the first only read.

    It was mapped to the first one's addition when it was written, and to another when its line was decided anew.
    """
    pushed, line = push(2, 281), OLDER.lines[0]
    other = line.model_copy(update={"company_id": "c2", "billable_users": 164})
    pushed = pushed.model_copy(update={"lines": (*pushed.lines, other)})
    green = result(pushed, time=at(3))
    moved = result(pushed, time=at(5), company_id="c2", quantity_wanted=164.0, quantity_after=164.0)
    fields: dict[str, Any] = {"wanted": 164.0, "after": 164.0, "companies": ("c2",)}
    history = replace(
        good(),
        published=[mapping(0), mapping(0, 12, "c2"), mapping(1, 11, "c2"), mapping(2.5, 13, "c2"), pushed],
        received=[checked(0), checked(2.5, "c2"), green, moved, completed(pushed, updated=2)],
        patches=[
            Patch("p", 11, 1.0, 281.0, at(2.2)),
            Patch("p", 11, 281.0, 164.0, at(4), "lost_response"),
            Patch("p", 13, 1.0, 164.0, at(4.5)),
        ],
        entries=[
            entry(pushed, 1, 1.0),
            entry(pushed, 2, 281.0, **fields),
            entry(pushed, 3, 1.0, addition_id=13, **fields),
        ],
        targets=[target(pushed), target(pushed, company_id="c2", addition_id=13)],
        stored={("p", "c1"): at(0), ("p", "c2"): at(2.5)},
        quantities={("p", 11): 164.0, ("p", 13): 164.0},
    )
    assert check(history) == {name: [] for name in COLUMNS}
    assert check(replace(history, quantities={("p", 11): 281.0, ("p", 13): 164.0}))["lost"] != []


@pytest.mark.parametrize("written_again", [41.0, 8.0], ids=["another value", "a part of the sum"])
def test_a_write_for_companies_that_were_told_otherwise_is_lost(written_again: float) -> None:
    """A green check holds until a newer push, whatever is written for the same companies of the same push after it."""
    both: dict[str, Any] = {"wanted": 42.0, "after": 42.0, "companies": ("c1", "c2")}
    pushed, line = push(2, 8), OLDER.lines[0]
    other = line.model_copy(update={"company_id": "c2", "billable_users": 34})
    pushed = pushed.model_copy(update={"lines": (*pushed.lines, other)})
    told_both = [result(pushed, time=at(3), company_id=company, quantity_after=42.0) for company in ("c1", "c2")]
    history = replace(
        good(),
        published=[mapping(0), mapping(0, company="c2"), pushed],
        received=[checked(0), checked(0, "c2"), *told_both, completed(pushed, updated=2)],
        patches=[Patch("p", 11, 1.0, 42.0, at(2.5))],
        entries=[entry(pushed, 1, 1.0, **both)],
        targets=[target(pushed), target(pushed, company_id="c2")],
        stored={("p", "c1"): at(0), ("p", "c2"): at(0)},
        quantities={("p", 11): 42.0},
    )
    assert check(history) == {name: [] for name in COLUMNS}
    spoiled = replace(
        history,
        patches=[*history.patches, Patch("p", 11, 42.0, written_again, at(4))],
        entries=[*history.entries, entry(pushed, 2, 42.0, wanted=written_again, after=written_again)],
        quantities={("p", 11): written_again},
    )
    assert check(spoiled)["lost"] != []


def test_every_column_is_tested() -> None:
    """No column of the judge is without a history that it must find."""
    assert {spoiled.column for spoiled in SPOILED.values()} == set(COLUMNS)


def test_lost_response_may_be_written_again() -> None:
    """The same value twice for one target is no finding if ConnectWise's first answer was lost."""
    changes = written((OLDER, 5), (NEWER, 8), (NEWER, 8))
    changes["patches"][1] = replace(changes["patches"][1], fault="lost_response")
    assert check(replace(good(), **changes))["doubled"] == []


def test_dead_letter_makes_a_given_up_line_whole() -> None:
    """A line that was given up is not lost if a dead letter holds it."""
    spoiled = SPOILED["given up without a dead letter"]
    history = replace(good(), **spoiled.changes, buried=frozenset({(NEWER.push_id, "c1")}), targets=[])
    assert check(history) == {name: [] for name in COLUMNS}
