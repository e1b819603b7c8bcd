"""One answer that blames the connection: another call confirms it before all lines fail, else its line is alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushRequested, SyncResult
from tests.support.case import Case, code
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker import app

EIGHT = range(1, 9)
MANY = range(1, 41)
"""More than can be written before a test sees the first write."""


def _patch(*numbers: int) -> Match:
    return Match(path=f"/additions/10000({'|'.join(map(str, numbers))})$", method="PATCH")


@contextmanager
def _partner(folder: Path, sqlite_url: str, numbers: range = EIGHT, retry_for: float = 3600.0) -> Iterator[World]:
    """A worker, and a partner with so many companies whose mappings are checked."""
    installation = World("local:", sqlite_url, folder, companies=len(numbers), retry_for=retry_for)
    with installation as world, app.build(world.settings):
        connection = world.connected("p1")
        world.publish(connection, *(world.mapped("p1", number) for number in numbers))
        case = Case(world)
        wait_for(lambda: case.check() and case.checked_mappings(connection.changed_at, len(numbers)), "the checks")
        wait_for(lambda: not case.is_running(), "the end of the checks' run")
        yield world


def _edit(case: Case) -> str:
    """The state of the Edit right, as the connection's check tells it."""
    rights = {right["right"]: right["state"] for right in (case.check() or {})["rights"]}
    return str(rights["Finance > Agreements: Edit (All)"])


def _pushed(folder: Path, sqlite_url: str, *switched: faults.Fault) -> tuple[dict[str, SyncResult], list[Any]]:
    """Push eight companies, with these faults from the push on: answers and requests."""
    with _partner(folder, sqlite_url) as world:
        world.simulator.faults.set(list(switched))
        asked = len(world.simulator.log)
        push: PushRequested = world.push("p1", dict.fromkeys(EIGHT, 5))
        world.publish(push)
        wait_for(lambda: world.state_of(push) == "completed", "the push", 60)
        answers = {company: answer for company, answer in world.answers(push).items() if answer is not None}
        return answers, list(world.simulator.log[asked:])


def _said(answers: dict[str, SyncResult]) -> Counter[tuple[str, str | None]]:
    return Counter((answer.status, code(answer)) for answer in answers.values())


@pytest.mark.parametrize("refused", [(1,), (5,), (8,), (1, 2, 3)])
def test_a_record_that_may_not_be_changed_fails_alone(
    sqlite_url: str, tmp_path: Path, refused: tuple[int, ...]
) -> None:
    """403 on some PATCHes, wherever they stand in the push: these lines fail, all others are written."""
    answers, asked = _pushed(tmp_path, sqlite_url, faults.MissingRight(match=_patch(*refused)))
    assert _said(answers) == {("updated", None): 8 - len(refused), ("failed", "record_denied"): len(refused)}
    assert {company for company, answer in answers.items() if answer.status == "failed"} == {f"c{n}" for n in refused}
    problem = answers[f"c{refused[0]}"].problem
    assert problem is not None
    assert problem.said == "You do not have security permission to perform this action."
    assert "customize" in problem.fix
    writes = [one for one in asked if one["method"] == "PATCH"]
    assert len(writes) <= 8 + len(refused)


def test_a_right_that_is_really_missing_fails_all_after_a_few_writes(sqlite_url: str, tmp_path: Path) -> None:
    """403 on every PATCH: four are enough to say that the right is missing, and no line is blamed."""
    answers, asked = _pushed(tmp_path, sqlite_url, faults.MissingRight(match=Match(method="PATCH")))
    assert _said(answers) == {("failed", "missing_agreement_edit"): 8}
    assert sum(one["method"] == "PATCH" for one in asked) <= 4


def test_a_right_that_is_taken_away_in_mid_run_is_told_as_such(sqlite_url: str, tmp_path: Path) -> None:
    """403 on every PATCH after five: four are enough, the check says `denied`, and no line blames its record."""
    many = range(1, 21)
    with _partner(tmp_path, sqlite_url, many) as world:
        world.simulator.faults.set([faults.Latency(seconds=0.2, match=Match(method="PATCH"))])
        push = world.push("p1", dict.fromkeys(many, 5))
        world.publish(push)
        wait_for(lambda: len(world.writes("p1")) >= 5, "five writes")
        world.simulator.faults.set([faults.MissingRight(match=Match(method="PATCH"))])
        asked = len(world.simulator.log)
        wait_for(lambda: world.state_of(push) == "completed", "the push", 60)
        said = _said({company: one for company, one in world.answers(push).items() if one is not None})
        assert set(said) == {("updated", None), ("failed", "missing_agreement_edit")}
        refused = [one for one in world.simulator.log[asked:] if (one["method"], one["status"]) == ("PATCH", 403)]
        assert len(refused) <= 8
        assert _edit(Case(world)) == "denied"


@pytest.mark.parametrize("again", [(1,), (1, 2)])
def test_a_denied_record_that_is_pushed_again_fails_alone_again(case: Case, again: tuple[int, ...]) -> None:
    """The coordinator tries a denied company again, alone or with what is unchanged: its line says the same."""
    case.world.simulator.faults.set([faults.MissingRight(match=_patch(1))])
    case.push(5, companies=(1, 2))
    asked = len(case.world.simulator.log)
    answers = case.push(5, companies=again)
    assert (answers["c1"].status, code(answers["c1"])) == ("failed", "record_denied")
    assert [answer.status for company, answer in answers.items() if company != "c1"] == ["unchanged"] * (len(again) - 1)
    assert sum(one["method"] == "PATCH" for one in case.world.simulator.log[asked:]) == 1
    assert (case.dead(), _edit(case)) == ({}, "granted")


def test_a_denied_record_fails_alone_while_others_are_tried_again(case: Case) -> None:
    """403 for one company, 500s for the other that was written last time: neither blames the connection."""
    case.push(5, companies=(1, 2))
    trouble = faults.Status(status=500, match=Match(path="/100002$", method="GET"), times=6)
    case.world.simulator.faults.set([faults.MissingRight(match=_patch(1)), trouble])
    answers = case.push(6, companies=(1, 2))
    assert (code(answers["c1"]), answers["c2"].status) == ("record_denied", "updated")


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_keys_that_are_refused_once_end_nothing(sqlite_url: str, tmp_path: Path, method: str) -> None:
    """One passing 401: a confirming request is answered, the line is tried again, and all are written."""
    once = faults.Status(status=401, match=Match(path="/additions/100003$", method=method), times=1)
    answers, asked = _pushed(tmp_path, sqlite_url, once)
    assert _said(answers) == {("updated", None): 8}
    assert sum(one["path"].endswith("/count") for one in asked) == 1
    assert sum(one["method"] == "PATCH" for one in asked) == 8 + (method == "PATCH")


def test_keys_that_are_refused_for_one_record_fail_its_line(sqlite_url: str, tmp_path: Path) -> None:
    """401 for one addition again and again, while others are answered: its line fails, with what ConnectWise said."""
    always = faults.Status(status=401, match=Match(path="/additions/100003$"))
    answers, asked = _pushed(tmp_path, sqlite_url, always)
    assert _said(answers) == {("updated", None): 7, ("failed", "record_denied"): 1}
    assert sum(one["path"].endswith("/100003") for one in asked) == 3


def test_reads_that_are_refused_one_and_all_are_not_asked_line_by_line(sqlite_url: str, tmp_path: Path) -> None:
    """401 for every addition, though other calls are answered: after four of them all lines fail for the keys."""
    answers, asked = _pushed(tmp_path, sqlite_url, faults.Status(status=401, match=Match(path="/additions/")))
    assert _said(answers) == {("failed", "bad_credentials"): 8}
    assert sum("/additions/" in one["path"] for one in asked) <= 7


def test_the_whole_base_path_that_is_not_found_is_blamed_on_no_record(sqlite_url: str, tmp_path: Path) -> None:
    """404 for whatever is asked, as a router may answer wrong keys: no line says that its record does not exist."""
    away = faults.Status(status=404, match=Match(path="/apis/3.0/"), times=12)
    answers, _ = _pushed(tmp_path, sqlite_url, away)
    assert _said(answers) == {("updated", None): 8}


def test_a_base_path_that_goes_away_in_mid_run_is_blamed_on_no_record(sqlite_url: str, tmp_path: Path) -> None:
    """404 for whatever is asked after the first write: lines wait until RETRY_FOR, and none is to be mapped anew."""
    with _partner(tmp_path, sqlite_url, MANY, retry_for=within(4.0)) as world:
        world.simulator.faults.set([faults.Latency(seconds=0.2, match=Match(method="PATCH"))])
        push = world.push("p1", dict.fromkeys(MANY, 5))
        world.publish(push)
        wait_for(world.writes, "the first write")
        world.simulator.faults.set([faults.Status(status=404, match=Match(path="/apis/3.0/"))])
        wait_for(lambda: world.state_of(push) == "completed", "the push", 60)
        answers = {company: answer for company, answer in world.answers(push).items() if answer is not None}
    assert _said(answers).keys() == {("updated", None), ("failed", "exhausted")}


def test_an_unknown_company_is_asked_for_twice(case: Case) -> None:
    """The login page knows no such company for once: the connection is saved, found, and its push is carried out."""
    gone = faults.Answer(status=200, body="null", match=Match(path="/companyinfo/"), times=1)
    case.world.simulator.faults.set([gone])
    connection = case.world.connected("p1")
    push = case.world.push("p1", {1: 5, 2: 5}, connection=connection)
    case.world.publish(connection, push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert {answer.status for answer in case.world.answers(push).values() if answer} == {"updated"}
