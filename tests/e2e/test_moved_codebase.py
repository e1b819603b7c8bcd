"""A 404 may be a codebase that an upgrade of the cloud has moved: it is looked up again, now and then."""

from datetime import timedelta

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from store.ledger import Entry
from tests.support.case import Case, code
from tests.support.passing import time_passes
from worker import progress
from worker.jobs import Job

REDISCOVERED = timedelta(minutes=5)


def _calls(case: Case, since: int) -> list[tuple[str, int | None]]:
    """The calls since then: `look up` or the method, and the status."""
    records = case.world.simulator.log[since:]
    return [("look up" if "/companyinfo/" in one["path"] else one["method"], one["status"]) for one in records]


def test_a_moved_codebase_is_found_again(case: Case) -> None:
    """After an upgrade of the cloud the base URL is looked up again and the push goes on."""
    time_passes(case.world.database, REDISCOVERED)
    case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
    asked = len(case.world.simulator.log)
    answer = case.push()["c1"]
    assert (answer.status, answer.attempts) == ("updated", 1)
    assert _calls(case, asked) == [("GET", 400), ("look up", 200), ("GET", 200), ("PATCH", 200)]


def test_a_codebase_that_moves_between_read_and_write_is_found_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrade comes when additions are read but not yet written: they are decided anew, and no line fails."""
    time_passes(case.world.database, REDISCOVERED)
    entry_of = progress.entry_of

    def upgraded(job: Job) -> Entry:
        case.world.simulator.state.upgrade("cw-p1", "v2026_1/")
        return entry_of(job)

    monkeypatch.setattr(progress, "entry_of", upgraded)
    answers = case.push(companies=(1, 2))
    assert {answer.status for answer in answers.values()} == {"updated"}
    assert sorted(write["quantity_after"] for write in case.world.writes()) == [5, 5]
    assert case.dead() == {}


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_404_that_stays_is_looked_up_once_in_five_minutes(case: Case, method: str) -> None:
    """Records that are gone look like a moved codebase: one look-up for all of them, the next 5 minutes later."""
    time_passes(case.world.database, REDISCOVERED)
    match = Match(path=r"/additions/10000\d$", method=method)
    case.world.simulator.faults.set([faults.Status(status=404, match=match)])
    asked = len(case.world.simulator.log)
    for looked_up in (1, 1, 2):
        answers = case.push(companies=(1, 2))
        assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "record_not_found")}
        assert [answer.problem and answer.problem.said for answer in answers.values()] == ["Resource not found"] * 2
        assert _calls(case, asked).count(("look up", 200)) == looked_up
        if looked_up == 1:
            time_passes(case.world.database, REDISCOVERED / 2)
    assert _calls(case, asked).count((method, 404)) == 6
    assert case.world.writes() == []
    assert case.dead() == {}
