"""A fault of ours: it fails what meets it, is told, and hurts nobody else."""

from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from cwclient.simulator import faults
from store import StoreConflict, StoreUnavailable, leases, ledger, now
from tests.support.asking import ask, question
from tests.support.case import Case
from tests.support.waiting import wait_for
from worker.checks import connection_check
from worker.sync import commit, run, supervisor
from worker.sync.job import Final

FAULT = "a fault of ours"


def _spoil_c1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Company 1's answers cannot be stored, but the last one can."""
    take = commit._Flush.take

    def faulty(self: Any, job: Any, member: Any) -> None:
        if member.line.company_id == "c1" and isinstance(job.outcome, Final) and job.outcome.status != "failed":
            raise RuntimeError(FAULT)
        take(self, job, member)

    monkeypatch.setattr(commit._Flush, "take", faulty)


def test_a_fault_in_storing_a_line_fails_only_that_line(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries its answer is `unexpected` and it waits as a dead letter; its neighbour is served at once."""
    _spoil_c1(monkeypatch)
    answers = case.push(companies=(1, 2))
    assert answers["c2"].status == "updated"
    assert (answers["c1"].status, answers["c1"].attempts) == ("failed", 3)
    assert answers["c1"].problem is not None
    assert answers["c1"].problem.code == "unexpected"
    assert case.dead() == {"unexpected": 1}
    assert len(case.world.writes()) == 2  # c1's change was made; it is not made again

    monkeypatch.undo()
    assert case.push(companies=(1, 2)).keys() == {"c1", "c2"}
    assert len(case.world.writes()) == 2


def test_a_neighbour_whose_last_write_is_just_cleared_up_is_not_drawn_in(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end found of a lost write is stored also after a flush that failed: the neighbour's line is tried once."""
    lost = faults.LostResponse(match=faults.Match(path=r"/additions/100002$", method="PATCH"), times=1)
    case.world.simulator.faults.set([lost])
    case.world.publish(case.world.push("p1", {2: 5}))
    wait_for(lambda: any(row.outcome is None for row in case.world.ledger()), "the lost write")
    monkeypatch.setattr(run, "FLUSH_SECONDS", 1.0)
    _spoil_c1(monkeypatch)
    answers = case.push(7, companies=(1, 2))
    assert {company: (answer.status, answer.attempts) for company, answer in answers.items()} == {
        "c1": ("failed", 3),
        "c2": ("updated", 1),
    }
    assert [row.outcome for row in case.world.ledger()] == ["written"] * 3


def test_the_right_to_edit_is_told_also_after_a_flush_that_failed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right that the first write has proven is noted with the next flush, not never."""
    noted: list[int] = []
    met: list[int] = []

    def note(*given: Any) -> bool:
        noted.append(1)
        return record_edit_right(*given)

    def faulty(*given: Any) -> Any:
        if noted and not met:
            met.append(1)
            raise RuntimeError(FAULT)
        return open_entries(*given)

    record_edit_right, open_entries = connection_check.record_edit_right, ledger.open_entries
    monkeypatch.setattr(connection_check, "record_edit_right", note)
    monkeypatch.setattr(ledger, "open_entries", faulty)
    assert case.push()["c1"].status == "updated"
    assert met
    check = case.check()
    assert check is not None
    assert {right["state"] for right in check["rights"]} == {"granted"}


def test_a_fault_that_ends_three_runs_fails_what_is_open(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever: the lines are answered, wait as one dead letter, and the next push is served."""
    monkeypatch.setattr(supervisor, "BUG_PAUSE", timedelta(seconds=0.3))
    looks = []

    def faulty(*_: object) -> None:
        looks.append(1)
        raise RuntimeError(FAULT)

    with monkeypatch.context() as broken:
        broken.setattr(run, "load_due_work", faulty)
        answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"failed"}
    assert {answer.problem.code for answer in answers.values() if answer.problem} == {"unexpected"}
    assert case.dead() == {"unexpected": 1}
    assert len(looks) == 3
    assert case.world.writes() == []

    assert {answer.status for answer in case.push(companies=(1, 2)).values()} == {"updated"}


def test_what_comes_between_failing_runs_does_not_keep_lines_open(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that only says that it must wait proves nothing: the third that fails is still the third in a row."""
    monkeypatch.setattr(supervisor, "BUG_PAUSE", timedelta(seconds=1))
    looks = []

    def faulty(*_: object) -> None:
        looks.append(1)
        raise RuntimeError(FAULT)

    monkeypatch.setattr(run, "load_due_work", faulty)
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    for number in (1, 2):
        wait_for(lambda number=number: len(looks) == number and not case.is_running(), "the run that fails")  # type: ignore[misc]
        told = ask(case.world, question("agreements", cw_company_id=1, refresh=True)).problem
        assert told is not None
        assert told.code == "unexpected"
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    assert len(looks) == 3
    assert case.dead() == {"unexpected": 1}


def test_a_fault_shortens_no_pause_that_connectwise_asked_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Retry-After of an hour is kept, though a run that only says so fails meanwhile."""
    with case.world.database.partner("p1") as tx:
        paused_until = now(tx) + timedelta(hours=1)
        leases.save_health(tx, "p1", leases.Health(paused_until, "rate_limited"))

    def faulty(*_: object) -> None:
        raise RuntimeError(FAULT)

    monkeypatch.setattr(run, "refuse_waiting", faulty)
    case.world.publish(case.world.push("p1", {1: 5}))

    def health() -> leases.Health:
        with case.world.database.begin() as tx:
            return leases.health(tx, "p1")

    wait_for(lambda: health().failed_runs, "the run that fails")
    assert (health().paused_until, health().paused_why) == (paused_until, "rate_limited")


def test_a_transaction_that_met_another_does_not_keep_the_partner_waiting(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is begun again at once, not when its lease has run out."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 3600.0)
    met: list[int] = []

    def meets_another(*given: Any, **named: Any) -> Any:
        if not met:
            met.append(1)
            raise StoreConflict(FAULT)
        return commit.commit_jobs(*given, **named)

    monkeypatch.setattr(run, "commit_jobs", meets_another)
    assert case.push()["c1"].status == "updated"
    assert met


def test_a_store_that_takes_no_results_does_not_have_connectwise_asked_without_end(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is nearly full still takes claims: each is followed by a pause, and the first good one by results."""
    begun: list[float] = []

    def is_full(*given: Any, **named: Any) -> Any:
        begun.append(monotonic())
        if len(begun) <= 2:
            raise StoreUnavailable("could not extend file: No space left on device")
        return commit.commit_jobs(*given, **named)

    monkeypatch.setattr(supervisor, "STORE_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(run, "commit_jobs", is_full)
    assert case.push()["c1"].status == "updated"
    assert begun[2] - begun[0] > 2.0
