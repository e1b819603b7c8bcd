"""Keys and rights that ConnectWise refuses: all lines fail with what to change, and nobody hammers it."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from cwclient.simulator import faults
from cwclient.simulator.document import Rights
from cwclient.simulator.faults import Match
from store import mappings
from store.schema import dead_letters
from tests.support.case import Case, answered_at_once, code
from tests.support.letters import Letters
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.sync import due_work
from worker.sync.context import CALLS_AT_ONCE

API = Match(path=r"/apis/3.0/")
MANY = 12


def test_refused_keys_fail_all_lines_without_hammering(case: Case) -> None:
    """Wrong keys: a request, one that confirms it, and all lines fail with what to do and one dead letter to replay."""
    case.world.simulator.faults.set([faults.Status(status=401, match=API)])
    before = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "bad_credentials")}
    assert len(case.world.simulator.log) - before == 2
    assert case.dead() == {"credentials": 1}


def test_many_lines_fail_some_at_a_time_with_one_dead_letter(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a worker does not grow with the lines of a partner that fail, nor is anything asked again."""
    sizes = answered_at_once(monkeypatch, 1)
    case.world.simulator.faults.set([faults.Status(status=401, match=API)])
    before = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    assert {code(answer) for answer in answers.values()} == {"bad_credentials"}
    assert max(sizes) == 1
    assert len(case.world.simulator.log) - before == 2
    assert case.dead() == {"credentials": 1}
    with case.world.database.begin() as tx:
        (body,) = tx.execute(select(dead_letters.c.body)).scalars()
    assert {line["company_id"] for line in json.loads(body)["lines"]} == {"c1", "c2"}


def test_a_missing_edit_right_is_named(case: Case) -> None:
    """403 on the write: all lines fail, and the coordinator reads which row of the security role to change."""
    case.set_rights(Rights(agreements_edit="none"))
    answer = case.push()["c1"]
    assert code(answer) == "missing_agreement_edit"
    assert answer.problem is not None
    assert "Finance > Agreements > Edit" in answer.problem.fix
    assert case.dead() == {"credentials": 1}


def test_a_restricted_agreement_type_fails_only_its_line(case: Case) -> None:
    """403 on one addition while the rights as a whole are granted: that agreement's type is hidden from the role."""
    case.world.simulator.faults.set([faults.MissingRight(match=Match(path="/additions/100001$"))])
    asked = len(case.world.simulator.log)
    answers = case.push(companies=(1, 2))
    assert (answers["c1"].status, code(answers["c1"])) == ("failed", "restricted_agreement")
    assert answers["c2"].status == "updated"
    # The two rights are asked for once.
    calls = [record["path"].rpartition("/")[2] for record in case.world.simulator.log[asked:]]
    assert (calls.count("count"), calls.count("100001")) == (2, 1)
    assert case.dead() == {}


def test_a_missing_inquire_right_fails_all_lines_with_its_row(case: Case) -> None:
    """A 403 on one record leads to the two counts: if a right is really missing, all lines name the row to change."""
    case.set_rights(Rights(agreements_inquire="none"))
    answers = case.push(companies=(1, 2))
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "missing_agreement_inquire")}
    assert case.dead() == {"credentials": 1}
    assert case.world.writes() == []


def test_the_check_of_a_connection_is_the_first_call_that_counts(case: Case) -> None:
    """Keys that the check finds refused, twice, are not tried again by a line."""
    case.set_key("another-private-key")
    asked = len(case.world.simulator.log)
    connection = case.world.connected("p1")
    push = case.world.push("p1", {1: 5, 2: 5}, connection=connection)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push's acceptance")
    case.world.publish(connection)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push's completion")
    answers = case.world.answers(push)
    assert {answer and code(answer) for answer in answers.values()} == {"bad_credentials"}
    assert [record["status"] for record in case.world.simulator.log[asked:]] == [200, 401, 401]


def test_an_unmapped_company_is_skipped_also_when_all_fails(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused keys fail what would have been written; an unmapped company still reads that it is to be mapped."""
    monkeypatch.setattr(due_work, "BATCH", 1)
    case.world.simulator.faults.set([faults.Status(status=401, match=API)])
    answers = case.push(companies=(1, 3))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("failed", "bad_credentials"),
        "c3": ("skipped", "unmapped"),
    }


def test_a_line_that_may_be_written_does_not_fail_with_the_others(case: Case) -> None:
    """While a change may still arrive its line does not fail; if nobody can look afterwards, the line says so."""
    case.world.simulator.faults.set(
        [
            faults.Hang(applied=True, match=Match(method="PATCH", path=r"/additions/100001$"), times=1),
            faults.Status(status=401, match=Match(method="PATCH", path=r"/additions/100002$")),
        ]
    )
    answers = case.push(companies=(1, 2))
    assert {company: (answer.status, code(answer)) for company, answer in answers.items()} == {
        "c1": ("updated", None),
        "c2": ("failed", "bad_credentials"),
    }
    assert case.world.quantity("p1", 100_001) == 5


@pytest.mark.parametrize(
    ("status", "problem", "fix"),
    [
        (401, "bad_credentials", "create new API keys"),
        (403, "missing_agreement_edit", "Finance > Agreements > Edit"),
    ],
)
def test_what_is_refused_in_the_middle_of_a_push_is_not_asked_by_each_line(
    sqlite_url: str, tmp_path: Path, status: int, problem: str, fix: str
) -> None:
    """Refused writes: what is under way may meet it too, then nothing more is sent; one dead letter has all lines."""
    with World("local:", sqlite_url, tmp_path, companies=MANY) as world, app.build(world.settings):
        connection = world.connected("p1")
        mapped = [world.mapped("p1", number) for number in range(1, MANY + 1)]
        world.simulator.faults.set([faults.Status(status=status, match=Match(method="PATCH"))])
        push = world.push("p1", dict.fromkeys(range(1, MANY + 1), 5), connection=connection, mappings=mapped)
        world.publish(connection, *mapped)
        wait_for(lambda: _are_checked(world), "the checks")
        world.publish(push)
        wait_for(lambda: world.state_of(push) == "completed", "the push's completion")
        refused = [record for record in world.simulator.log if record["method"] == "PATCH"]
        assert 1 <= len(refused) <= CALLS_AT_ONCE
        answers = [answer for answer in world.answers(push).values() if answer is not None]
        assert [(answer.status, code(answer)) for answer in answers] == [("failed", problem)] * MANY
        assert all(answer.problem and fix in answer.problem.fix for answer in answers)
        (letter,) = Letters(world).all()
        assert (letter.reason, len(json.loads(letter.body)["lines"])) == ("credentials", MANY)
        assert world.writes() == []


def _are_checked(world: World) -> bool:
    with world.database.begin() as tx:
        stored = mappings.of_partner(tx, "p1")
    return len(stored) == MANY and all(mapping.check and mapping.check_due_at is None for mapping in stored)
