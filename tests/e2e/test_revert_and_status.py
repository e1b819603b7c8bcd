"""Sync Status after a revert: only what the revert is about changes there."""

from store import company_status
from tests.support.case import Case
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for


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
    with case.world.database.begin() as tx:
        shown = company_status.of_partner(tx, "p1")
    assert [(row.company_id, row.push_id, row.status) for row in shown] == [
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
