"""The effect of ConnectWise's answer or error on a job: its outcome, and how its ledger rows end."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cwclient import (
    Addition,
    BadCredentials,
    MissingRight,
    QuantityNotKept,
    RateLimited,
    RecordRefused,
    ServerTrouble,
    Unreachable,
)
from messages import SyncMode
from store.ledger import Closing, OpenEntry
from store.pushes import Line, Push
from store.targets import Target
from tests.support.samples import NOVEMBER, OCTOBER, PARTNER, TEN, mapping, minute
from worker.checks.mapping_check import ToCheck
from worker.rules import quantities
from worker.rules.errors import KeyUnreadable, NotStarted, RightRefused
from worker.rules.outcomes import classify
from worker.sync import transitions
from worker.sync.job import Final, Job, Member, RetryAt
from worker.sync.transitions import Moment

NOW = minute(10)
CALL_UNTIL = minute(11)
MOMENT = Moment(NOW, timedelta(hours=1), quantities.JumpLimits(jump_share=0.5, jump_count=1000))
DECEMBER = (NOVEMBER.start.replace(month=12), NOVEMBER.end.replace(month=12))
LATER = quantities.WriteHistory(newest_period=DECEMBER)


def _push(mode: SyncMode) -> Push:
    return Push(
        partner_id=PARTNER,
        push_id="p-1",
        message_id="m-1",
        correlation_id="q-1",
        traceparent=None,
        requested_at=TEN,
        requested_by="ana",
        period=NOVEMBER,
        mode=mode,
        connection_changed_at=None,
        line_count=1,
        accepted_at=TEN,
        round=0,
        state="accepted",
        body_hash="hash",
    )


def _member(*, preview: bool = False, attempts: int = 0, first_failed_at: datetime | None = None) -> Member:
    line = Line(_push("preview" if preview else "apply"), "c-1", "Acme", 42, None, None, "pending", 0, 0)
    target = Target(
        "c-1", NOVEMBER.key, NOVEMBER.start, NOVEMBER.end, 42, TEN, "p-1", TEN, attempts, first_failed_at, None, TEN
    )
    wanted = quantities.WantedLine("c-1", "Acme", NOVEMBER, 42, TEN, "p-1", TEN)
    return Member(line, wanted, mapping(), None if preview else target)


def _entry(
    push_id: str = "p-1", before: float | None = 4.0, wanted: float = 42.0, http_status: int | None = None
) -> OpenEntry:
    return OpenEntry(
        addition=(7, 11),
        push_id=push_id,
        period_key=NOVEMBER.key,
        period_start=NOVEMBER.start,
        period_end=NOVEMBER.end,
        company_ids=("c-1",),
        quantity_before=before,
        quantity_wanted=wanted,
        id=5,
        call_until=CALL_UNTIL,
        http_status=http_status,
    )


def _job(*, attempts: int = 0, first_failed_at: datetime | None = None, preview: bool = False, **changes: Any) -> Job:
    member = _member(preview=preview, attempts=attempts, first_failed_at=first_failed_at)
    sharing = [ToCheck(mapping())]
    return Job([member], addition=(7, 11), quantity=42, preview=preview, sharing=sharing, **changes)


def _addition(quantity: float | None = 4.0, **changes: Any) -> Addition:
    return Addition(id=11, agreement_id=7, quantity=quantity, **{"bill_customer": "Billable", **changes})


def _short(outcome: object) -> object:
    match outcome:
        case Final():
            code = outcome.problem.code if outcome.problem else None
            return (outcome.status, code, outcome.before, outcome.after, outcome.dead_letter_reason)
        case RetryAt():
            return (outcome.until, outcome.problem.code if outcome.problem else None, outcome.counts)
    return None


@pytest.mark.parametrize(
    ("job", "actual", "outcome"),
    [
        pytest.param(_job(), _addition(), None, id="to be written"),
        pytest.param(_job(), _addition(42.0), ("unchanged", None, 42.0, 42.0, None), id="already there"),
        pytest.param(_job(), _addition(None), None, id="empty, to be written"),
        pytest.param(
            _job(),
            _addition(bill_customer="NoCharge"),
            ("failed", "not_billable", 4.0, None, None),
            id="not billable",
        ),
        pytest.param(
            _job(),
            _addition(cancelled_date=TEN),
            ("held", "addition_cancelled", 4.0, None, None),
            id="billed for a part of the period",
        ),
        pytest.param(
            _job(written=LATER),
            _addition(),
            ("held", "older_period", 4.0, None, None),
            id="an older period",
        ),
        pytest.param(
            _job(written=quantities.WriteHistory(newest_period=(OCTOBER.start, OCTOBER.end))),
            _addition(),
            None,
            id="a newer period",
        ),
        pytest.param(_job(preview=True), _addition(), ("preview", None, 4.0, None, None), id="a preview of a change"),
        pytest.param(_job(preview=True), _addition(42.0), ("preview", None, 42.0, None, None), id="a preview of none"),
        pytest.param(
            _job(preview=True, written=LATER),
            _addition(),
            ("held", "older_period", 4.0, None, None),
            id="a preview of what would be held",
        ),
        pytest.param(
            _job(previous=_entry()), _addition(42.0), ("updated", None, 4.0, 42.0, None), id="its lost write landed"
        ),
        pytest.param(
            _job(previous=_entry()),
            _addition(42.0, cancelled_date=minute(-60 * 24 * 60)),
            ("updated", None, 4.0, 42.0, None),
            id="its lost write landed where no day is billed, as was confirmed",
        ),
        pytest.param(_job(previous=_entry()), _addition(), None, id="its lost write did not land"),
        pytest.param(
            _job(previous=_entry(http_status=200)),
            _addition(),
            ("failed", "not_kept", 4.0, None, None),
            id="its write was taken and does not show on second reading",
        ),
        pytest.param(
            _job(previous=_entry(wanted=40.0, http_status=200)),
            _addition(),
            None,
            id="its write does not show, and another quantity is wanted since a company has joined the sum",
        ),
        pytest.param(
            _job(previous=_entry(http_status=200)),
            _addition(42.0),
            ("updated", None, 4.0, 42.0, None),
            id="its write was taken and shows on second reading",
        ),
        pytest.param(
            _job(previous=_entry("p-0", http_status=200)), _addition(), None, id="another push's write does not show"
        ),
        pytest.param(
            _job(previous=_entry("p-0")),
            _addition(42.0),
            ("unchanged", None, 42.0, 42.0, None),
            id="the lost write of another push landed on the same value",
        ),
        pytest.param(
            _job(previous=_entry(wanted=9.0)),
            _addition(9.0),
            None,
            id="an older lost write landed, another is wanted now",
        ),
    ],
)
def test_what_follows_from_a_read(job: Job, actual: Addition, outcome: object) -> None:
    """A read decides the line, or leaves it to be written."""
    transitions.after_read(job, actual, MOMENT)
    assert _short(job.outcome) == outcome
    assert job.actual == actual
    assert job.is_decided == (outcome is not None)


@pytest.mark.parametrize(
    ("quantity", "members", "closing"),
    [
        (42.0, True, Closing(5, "written", 42.0, None)),
        (42.0, False, Closing(5, "written", 42.0, None)),
        (4.0, True, Closing(5, "not_applied", 4.0, None)),
        (None, False, Closing(5, "not_applied", None, None)),
    ],
)
def test_a_write_whose_end_was_unknown_is_closed_by_a_read(
    quantity: float | None, closing: Closing, *, members: bool
) -> None:
    """The write of a killed worker is known afterwards, also when nobody wants that addition any more."""
    job = _job(previous=_entry()) if members else Job([], addition=(7, 11), previous=_entry())
    transitions.after_read(job, _addition(quantity), MOMENT)
    assert job.closings == [closing]
    assert members or job.is_decided


@pytest.mark.parametrize(
    ("quantity", "minutes", "closing"),
    [
        pytest.param(33.0, 0, Closing(5, "not_kept", 33.0, 200), id="soon"),
        pytest.param(33.0, 60, Closing(5, "unknown", None, 200), id="late"),
        pytest.param(3.0, 60, Closing(5, "not_kept", 3.0, 200), id="late, as the answer showed it"),
        pytest.param(42.0, 60, Closing(5, "written", 42.0, 200), id="late, as it was sent"),
    ],
)
def test_what_a_late_second_read_finds_may_be_a_persons(quantity: float, minutes: int, closing: Closing) -> None:
    """A revert takes back what the ledger says of the push; hours later that may be somebody's correction."""
    job = _job(previous=replace(_entry(http_status=200), shown=3.0, call_until=NOW - timedelta(minutes=minutes)))
    transitions.after_read(job, _addition(quantity), MOMENT)
    assert job.closings == [closing]


def test_the_ledger_row_says_what_is_about_to_be_written() -> None:
    """A successor knows from the row alone what was there, what was wanted, and for whom."""
    job = _job()
    transitions.after_read(job, _addition(), MOMENT)
    entry = transitions.entry_of(job)
    assert (entry.addition, entry.push_id, entry.period_key) == ((7, 11), "p-1", NOVEMBER.key)
    assert (entry.company_ids, entry.quantity_before, entry.quantity_wanted) == (("c-1",), 4.0, 42.0)


def test_a_write_that_was_kept_is_told_with_both_values() -> None:
    """The partner sees what the quantity was and what it is."""
    job = _job(entry=_entry(), actual=_addition())
    transitions.after_write(job, _addition(42.0))
    assert _short(job.outcome) == ("updated", None, 4.0, 42.0, None)
    assert job.closings == [Closing(5, "written", 42.0, 200)]


EDIT = "Finance > Agreements: Edit (All)"
WRITING: list[tuple[BaseException, object, list[Closing]]] = [
    (
        RecordRefused("no", status=400),
        ("failed", "record_refused", 4.0, None, None),
        [Closing(5, "refused", None, 400)],
    ),
    (QuantityNotKept(42.0, 40.0), (NOW + transitions.READ_AGAIN_AFTER, None, False), []),
    (
        RateLimited("no", status=429, retry_after=60),
        (minute(11), "rate_limited", False),
        [Closing(5, "refused", None, 429)],
    ),
    (
        Unreachable("no", sent=False),
        (NOW + timedelta(seconds=2), "unreachable", True),
        [Closing(5, "not_sent", None, None)],
    ),
    (Unreachable("no", sent=True), (CALL_UNTIL, "unreachable", True), []),
    (ServerTrouble("no", sent=True, status=500), (CALL_UNTIL, "server_trouble", True), []),
    (RuntimeError("a bug of ours"), (CALL_UNTIL, "unexpected", True), []),
    (NotStarted(), None, [Closing(5, "not_sent", None, None)]),
    (BadCredentials("no", status=401), None, [Closing(5, "refused", None, 401)]),
    (MissingRight("no", status=403), None, [Closing(5, "refused", None, 403)]),
    (RightRefused(EDIT), None, [Closing(5, "refused", None, 403)]),
    (KeyUnreadable(), None, [Closing(5, "not_sent", None, None)]),
]


@pytest.mark.parametrize(("error", "outcome", "closings"), WRITING, ids=lambda value: type(value).__name__)
def test_what_follows_from_a_write_that_failed(error: BaseException, outcome: object, closings: list[Closing]) -> None:
    """A write that may have landed stays open until it is certainly over; any other is closed with what is known."""
    job = _job(entry=_entry(), actual=_addition())
    transitions.after_error(job, error, classify(error, attempts=0, chance=1.0), MOMENT)
    assert _short(job.outcome) == outcome
    assert job.closings == closings


def test_a_bug_that_each_write_meets_fails_its_line() -> None:
    """The third time the line fails and says that it may have been written; its row stays open until that is read."""
    job, error = _job(attempts=2, entry=_entry(), actual=_addition()), RuntimeError("a bug of ours")
    transitions.after_error(job, error, classify(error, attempts=job.attempts, chance=1.0), MOMENT)
    assert _short(job.outcome) == ("failed", "unexpected", None, None, "unexpected")
    assert isinstance(job.outcome, Final)
    assert job.outcome.problem is not None
    assert "The quantity may have been changed before" in job.outcome.problem.detail
    assert job.closings == []


READING: list[tuple[Job, BaseException, object]] = [
    (_job(), RecordRefused("no"), ("failed", "record_refused", None, None, None)),
    (_job(), Unreachable("no", sent=True), (NOW + timedelta(seconds=2), "unreachable", True)),
    (_job(), RateLimited("no", retry_after=60), (minute(11), "rate_limited", False)),
    (_job(), BadCredentials("no"), None),
    (_job(), RuntimeError("ours"), (NOW + timedelta(seconds=2), "unexpected", True)),
    (_job(attempts=2), RuntimeError("ours"), ("failed", "unexpected", None, None, "unexpected")),
    (
        _job(first_failed_at=minute(-49)),
        ServerTrouble("no", sent=True),
        (NOW + timedelta(seconds=2), "server_trouble", True),
    ),
    (
        _job(first_failed_at=minute(-50)),
        ServerTrouble("no", sent=True),
        ("failed", "exhausted", None, None, "exhausted"),
    ),
    (_job(first_failed_at=minute(-50)), RateLimited("no", retry_after=60), (minute(11), "rate_limited", False)),
    (_job(preview=True), Unreachable("no", sent=True), ("failed", "unreachable", None, None, None)),
    (_job(preview=True), RateLimited("no", retry_after=60), ("failed", "rate_limited", None, None, None)),
]


@pytest.mark.parametrize(("job", "error", "outcome"), READING, ids=lambda value: type(value).__name__)
def test_what_follows_from_a_read_that_failed(job: Job, error: BaseException, outcome: object) -> None:
    """A line is answered, or tried again until its time is up; a preview says at once what is wrong."""
    transitions.after_error(job, error, classify(error, attempts=job.attempts, chance=1.0), MOMENT)
    assert _short(job.outcome) == outcome
    assert job.closings == []


def test_a_line_that_is_given_up_says_why() -> None:
    """The coordinator reads what the last failure was, not only that there were many."""
    job = _job(first_failed_at=minute(-50))
    error = ServerTrouble("ConnectWise is upgrading", sent=True)
    transitions.after_error(job, error, classify(error, attempts=0, chance=1.0), MOMENT)
    assert isinstance(job.outcome, Final)
    assert job.outcome.problem is not None
    assert "ConnectWise is upgrading" in job.outcome.problem.detail
    assert job.outcome.problem.code == "exhausted"


def test_a_write_that_never_gets_an_answer_is_given_up() -> None:
    """After RETRY_FOR of unanswered writes the line fails, once a read has shown that none of them arrived."""
    job = _job(entry=None, actual=None)
    job.previous = _entry()
    target = job.members[0].target
    assert target is not None
    failing = replace(target, first_failed_at=NOW - timedelta(hours=2))
    job.members[0] = replace(job.members[0], target=failing)
    transitions.after_read(job, _addition(1), MOMENT)
    assert isinstance(job.outcome, Final)
    assert (job.outcome.status, job.outcome.dead_letter_reason) == ("failed", "exhausted")
    assert [closing.outcome for closing in job.closings] == ["not_applied"]


def test_a_preview_leaves_the_row_of_a_lost_write_to_its_push() -> None:
    """The push's line says that it wrote, although a preview has read the addition in between."""
    read, failed = (_job(preview=True, previous=_entry()) for _ in range(2))
    transitions.after_read(read, _addition(42.0), MOMENT)
    error = RecordRefused("refused", status=400)
    transitions.after_error(failed, error, classify(error, attempts=0, chance=0.0), MOMENT)
    assert (read.closings, failed.closings) == ([], [])
    assert _short(read.outcome) == ("preview", None, 42.0, None, None)
