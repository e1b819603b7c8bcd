"""A refusal that passes, as the record is in use or the database had to choose: it is tried again."""

import json

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from tests.support.case import Case, code
from worker.sync import transitions

PATCH = Match(path=r"/additions/100001$", method="PATCH")


def _says(status: int, message: str, code: str = "ConnectWiseApi", **more: object) -> faults.Answer:
    body = json.dumps({"code": code, "message": message, "errors": None, **more})
    return faults.Answer(status=status, body=body, match=PATCH, times=2)


DEADLOCK = "Transaction (Process ID 71) was deadlocked on lock resources with another process. Rerun the transaction."
CONFLICTS = [
    pytest.param(_says(409, "The record is in use. Please try again."), id="409, in use"),
    pytest.param(faults.Answer(status=409, match=PATCH, times=2), id="409 without a word"),
    pytest.param(_says(423, "Locked"), id="423"),
    pytest.param(_says(400, DEADLOCK), id="400, a deadlock"),
    pytest.param(
        _says(400, "addition object is invalid", "InvalidObject", errors=[{"field": "", "message": DEADLOCK}]),
        id="400 InvalidObject, a deadlock in its errors",
    ),
    pytest.param(_says(400, "Lock request time out period exceeded."), id="400, a lock"),
    pytest.param(_says(400, "Timeout expired. The timeout period elapsed."), id="400, a timeout"),
    pytest.param(_says(400, "The record was changed by another user."), id="400, somebody else"),
    pytest.param(_says(400, "Agreement 1001 is locked by John Smith."), id="400, locked by somebody"),
    pytest.param(_says(400, "The agreement 'Managed' is being edited by Jane."), id="400, edited by somebody"),
    pytest.param(faults.Answer(status=400, body=DEADLOCK, media_type="text/plain", match=PATCH, times=2), id="text"),
]


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_conflict_is_tried_again(case: Case, conflict: faults.Answer) -> None:
    """Two writes meet it, the third is taken: the line is updated, and the ledger has all three as they ended."""
    case.world.simulator.faults.set([conflict])
    answer = case.push()["c1"]
    assert (answer.status, answer.attempts) == ("updated", 3)
    ends = [(row.outcome, row.http_status) for row in case.world.ledger()]
    assert ends == [("refused", conflict.status), ("refused", conflict.status), ("written", 200)]
    assert case.dead() == {}


def test_a_conflict_that_lasts_is_given_up_alone(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that stays in use fails its own line, says so, and waits as a dead letter; the neighbour is written."""
    monkeypatch.setattr(transitions, "is_given_up", lambda *_: True)
    case.world.simulator.faults.set([faults.Answer(status=409, match=PATCH)])
    answers = case.push(companies=(1, 2))
    assert (answers["c1"].status, code(answers["c1"])) == ("failed", "exhausted")
    assert answers["c1"].problem is not None
    assert "The record is in use" in answers["c1"].problem.detail
    assert answers["c2"].status == "updated"
    assert case.dead() == {"exhausted": 1}
