"""Sync Status after a revert: only what the revert is about changes there."""

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushRequested
from store import company_status
from tests.support.case import Case, code
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for


def _pushed(case: Case, *companies: int) -> PushRequested:
    push = case.world.push("p1", dict.fromkeys(companies, 5))
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    return push


def _shown(case: Case) -> list[tuple[str, str, str]]:
    """Sync Status: company, push and status."""
    with case.world.database.begin() as tx:
        return [(row.company_id, row.push_id, row.status) for row in company_status.of_partner(tx, "p1")]


def test_a_revert_of_what_was_not_written_changes_no_status(case: Case) -> None:
    """A company that the push never had gets an answer and no row; one that held its quantity already stays green."""
    push = case.world.push("p1", {1: 5, 2: 1})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    answers = carried_out(case.world, revert := revert_of(push, "c1", "c2", "c99"))
    assert {company: answer.status for company, answer in answers.items()} == {
        "c1": "updated",
        "c2": "skipped",
        "c99": "skipped",
    }
    assert _shown(case) == [
        ("c1", revert.revert_id, "updated"),
        ("c2", push.push_id, "unchanged"),
    ]


def test_a_revert_of_companies_that_do_not_exist_ends(case: Case) -> None:
    """A revert that names nobody of the push is answered and completed, and shows nobody in Sync Status."""
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    answers = carried_out(case.world, revert_of(push, "c98", "c99"))
    assert {company: answer.status for company, answer in answers.items()} == dict.fromkeys(("c98", "c99"), "skipped")
    with case.world.database.begin() as tx:
        assert [row.company_id for row in company_status.of_partner(tx, "p1")] == ["c1"]


def test_a_revert_that_is_refused_changes_no_status(case: Case) -> None:
    """A quantity that was asked for or changed since is not put back, and the green checks of the pushes stay."""
    older, newer = _pushed(case, 1, 2), _pushed(case, 1)
    case.world.simulator.state.change("cw-p1", "additions", 100_002, quantity=9)
    answers = carried_out(case.world, revert_of(older))
    assert {company: code(answer) for company, answer in answers.items()} == {
        "c1": "pushed_since",
        "c2": "changed_since",
    }
    assert _shown(case) == [("c1", newer.push_id, "unchanged"), ("c2", older.push_id, "updated")]


def test_a_revert_that_may_have_written_shows(case: Case) -> None:
    """ConnectWise took the former quantity but shows another: the check of the push would not be true any more."""
    push = _pushed(case, 1)
    case.world.simulator.faults.set([faults.NotKept(match=Match(path=r"/additions/100001$", method="PATCH"))])
    answer = carried_out(case.world, revert := revert_of(push))["c1"]
    assert (answer.status, code(answer), answer.perhaps_written) == ("failed", "not_kept", True)
    assert _shown(case) == [("c1", revert.revert_id, "failed")]
