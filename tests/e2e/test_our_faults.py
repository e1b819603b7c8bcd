"""A fault of ours: it fails what meets it, is told, and hurts nobody else."""

from datetime import timedelta
from typing import Any

import pytest

from store import StoreConflict, leases
from tests.support.case import Case
from worker import run, serve, settle
from worker.jobs import Settled

FAULT = "a fault of ours"


def test_a_fault_in_storing_a_line_fails_only_that_line(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries its answer is `unexpected` and it waits as a dead letter; its neighbour is served at once."""
    take = settle._Batch.take

    def faulty(self: Any, job: Any, member: Any) -> None:
        if member.line.company_id == "c1" and isinstance(job.outcome, Settled) and job.outcome.status != "failed":
            raise RuntimeError(FAULT)
        take(self, job, member)

    monkeypatch.setattr(settle._Batch, "take", faulty)
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


def test_a_fault_that_ends_three_runs_fails_what_is_open(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever: the lines are answered, wait as one dead letter, and the next push is served."""
    monkeypatch.setattr(serve, "BUG_PAUSE", timedelta(seconds=0.3))
    looks = []

    def faulty(*_: object) -> None:
        looks.append(1)
        raise RuntimeError(FAULT)

    with monkeypatch.context() as broken:
        broken.setattr(run, "look", faulty)
        answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"failed"}
    assert {answer.problem.code for answer in answers.values() if answer.problem} == {"unexpected"}
    assert case.dead() == {"unexpected": 1}
    assert len(looks) == 3
    assert case.world.writes() == []

    assert {answer.status for answer in case.push(companies=(1, 2)).values()} == {"updated"}


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
        return settle.settle(*given, **named)

    monkeypatch.setattr(run, "settle", meets_another)
    assert case.push()["c1"].status == "updated"
    assert met
