"""Reverting: the former quantity comes back where ConnectWise still holds what the push wrote, and nowhere else.

Long, as one promise is tried from all sides, killed workers and replays included, on the same pushes.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import BillingPeriod, PushCancelRequested, PushCompleted, PushRequested, SyncResult
from store import dead_letters, leases, pauses, pushes
from tests.support.case import Case, code
from tests.support.letters import Letters
from tests.support.reverting import answers_of, carried_out, completion_of, revert_of, state_of
from tests.support.stacks import at_points
from tests.support.waiting import wait_for, within
from tests.support.world import NOVEMBER, World, now
from worker.sync import due_work

COMPANIES = 50
OCTOBER = BillingPeriod.parse("2026-10")
CHANGED_BY_HAND = {7: 8, 21: 0, 50: 100.5}
PATCH = Match(path=r"/additions/10000\d$", method="PATCH")
AWAY = faults.Status(status=503, match=Match(path=r"/additions/10000\d$"))


def _pushed(world: World, counts: dict[int, int]) -> PushRequested:
    """Connect and map what is pushed, push it, and wait for the end."""
    connection = world.connected("p1")
    mappings = [world.mapped("p1", number) for number in counts]
    push = world.push("p1", counts, connection=connection, mappings=mappings)
    world.publish(connection, *mappings, push)
    wait_for(lambda: world.state_of(push) == "completed", "the push", 60)
    return push


def _completed(case: Case, users: int, *companies: int) -> PushRequested:
    push = case.world.push("p1", dict.fromkeys(companies, users))
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    return push


def _said(answers: dict[str, SyncResult]) -> dict[str, tuple[str, str | None]]:
    return {company: (answer.status, code(answer)) for company, answer in answers.items()}


def test_what_was_changed_by_hand_is_left_alone(stack: tuple[str, str], tmp_path: Path) -> None:
    """Of a push of 50 of which 3 were changed since, 47 get their former quantity back; another revert writes nothing.

    The 3 fail with what the push wrote and what is there now.
    """
    with World(*stack, tmp_path, companies=COMPANIES) as world:
        numbers = range(1, COMPANIES + 1)
        former = {number: number / 2 for number in numbers}
        for number in numbers:
            world.simulator.state.change("cw-p1", "additions", 100_000 + number, quantity=former[number])
        world.start_worker()
        push = _pushed(world, {number: number + 100 for number in numbers})
        assert len(world.writes()) == COMPANIES
        for number, quantity in CHANGED_BY_HAND.items():
            world.simulator.state.change("cw-p1", "additions", 100_000 + number, quantity=quantity)

        answers = carried_out(world, revert := revert_of(push))
        assert Counter(_said(answers).values()) == {("updated", None): 47, ("failed", "changed_since"): 3}
        assert {number: world.quantity("p1", 100_000 + number) for number in numbers} == former | CHANGED_BY_HAND
        assert len(world.writes()) == COMPANIES + 47
        refused = answers["c7"]
        assert refused.problem is not None
        assert "The push set 107, but ConnectWise holds 8 by now" in refused.problem.detail
        assert (refused.quantity_before, refused.quantity_wanted, refused.quantity_after) == (8, 3.5, None)
        done = answers["c9"]
        assert (done.quantity_before, done.quantity_wanted, done.quantity_after) == (109, 4.5, 4.5)
        completed = completion_of(world, revert)
        assert completed is not None
        assert (completed.counts.updated, completed.counts.failed, completed.unmapped) == (47, 3, ())
        rows = [row for row in world.ledger() if row.push_id == revert.revert_id]
        assert {(row.outcome, row.quantity_wanted == row.quantity_after) for row in rows} == {("written", True)}

        again = carried_out(world, revert_of(push))
        assert Counter(_said(again).values()) == {("unchanged", None): 47, ("failed", "changed_since"): 3}
        assert len(world.writes()) == COMPANIES + 47

        world.publish(revert)
        if world.platform is not None:
            platform = world.platform
            wait_for(lambda: _times_completed(world, revert.revert_id) == 2, "the recorded answers again")
            of_revert = {key: ids for key, ids in platform.final_ids().items() if key[0] == revert.revert_id}
            assert len(of_revert) == COMPANIES
            assert {len(ids) for ids in of_revert.values()} == {1}
            assert len(platform.ids_of("push.completed.v1")[revert.revert_id]) == 1


def _times_completed(world: World, push_id: str) -> int:
    assert world.platform is not None
    received = list(world.platform.received)
    return sum(isinstance(message, PushCompleted) and message.push_id == push_id for message in received)


@at_points("after_ledger_open", "after_patch", "before_flush_commit", "after_flush_commit")
def test_a_worker_killed_in_a_revert_leaves_the_same_end_state(
    stack: tuple[str, str], tmp_path: Path, point: str
) -> None:
    """Killed at this point and restarted: every former quantity is back, written once, with one answer a line."""
    with World(*stack, tmp_path, companies=3) as world:
        first = world.start_worker()
        push = _pushed(world, {1: 10, 2: 20, 3: 30})
        first.terminate()
        first.wait()
        killed = world.start_worker(point)
        world.publish(revert := revert_of(push))
        assert killed.wait(timeout=within(60)) == -signal.SIGKILL
        world.start_worker()
        wait_for(lambda: state_of(world, revert) == "completed", "the revert is completed")
        assert _said(answers_of(world, revert)) == dict.fromkeys(("c1", "c2", "c3"), ("updated", None))
        assert [write["quantity_after"] for write in world.writes()][3:] == [1, 1, 1]
        rows = [row for row in world.ledger() if row.push_id == revert.revert_id and row.outcome == "written"]
        assert sorted(row.addition_id for row in rows) == [100_001, 100_002, 100_003]


def test_only_the_named_companies_are_reverted(case: Case) -> None:
    """Of the named ones that the push did not write it is said that there is nothing to put back."""
    push = _completed(case, 5, 1, 2, 3)
    answers = carried_out(case.world, revert := revert_of(push, "c1", "c3", "c99"))
    assert _said(answers) == {"c1": ("updated", None), **dict.fromkeys(("c3", "c99"), ("skipped", "not_written"))}
    assert (case.world.quantity("p1", 100_001), case.world.quantity("p1", 100_002)) == (1, 5)
    completed = completion_of(case.world, revert)
    assert completed is not None
    assert (completed.counts.skipped, completed.unmapped) == (2, ())


def test_an_unknown_push_is_refused(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """The revert of a push that is not known is answered once, with a refusal that says so."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        world.start_worker()
        revert = revert_of(world.push("p1", {1: 1}))
        world.publish(revert, revert)
        wait_for(lambda: _times_completed(world, revert.revert_id) == 2, "both refusals")
        assert world.platform is not None
        refused = [message for message in world.platform.received if isinstance(message, PushCompleted)]
        assert {(one.status, one.problem and one.problem.code) for one in refused} == {("refused", "push_unknown")}
        assert len({one.id for one in refused}) == 1


def test_a_push_that_wrote_nothing_is_refused(case: Case) -> None:
    """There is nothing to put back of a push that changed nothing; the answer says so."""
    push = _completed(case, 1, 1, 2)
    revert = revert_of(push)
    assert carried_out(case.world, revert) == {}
    completed = completion_of(case.world, revert)
    assert completed is not None
    assert completed.problem is not None
    assert (completed.status, completed.problem.code) == ("refused", "nothing_written")


def test_a_newer_push_wins_over_a_late_revert(case: Case) -> None:
    """A revert that was asked for before a newer push but comes after it changes nothing: the newest wins."""
    push = _completed(case, 5, 1)
    late = revert_of(push)
    _completed(case, 7, 1)
    assert _said(carried_out(case.world, late)) == {"c1": ("superseded", "superseded")}
    assert case.world.quantity("p1", 100_001) == 7
    assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("failed", "pushed_since")}
    assert case.world.quantity("p1", 100_001) == 7


@pytest.mark.parametrize("period", [OCTOBER, NOVEMBER], ids=["older", "same"])
def test_what_a_newer_push_found_as_it_wants_it_stays(case: Case, period: BillingPeriod) -> None:
    """The newer push had nothing to write, its line is `unchanged`: the older one's revert would make that untrue."""
    push = case.world.push("p1", {1: 5}, period=period)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    _completed(case, 5, 1)
    for _ in range(2):
        assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("failed", "pushed_since")}
    assert [write["quantity_after"] for write in case.world.writes()] == [5]


def test_a_push_that_comes_with_the_revert_of_an_older_period_stays(case: Case) -> None:
    """Both wait; the newer period goes first and finds what it wants, so the revert takes nothing back."""
    push = case.world.push("p1", {1: 5}, period=OCTOBER)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    with _paused(case):
        revert, newer = revert_of(push), case.world.push("p1", {1: 5})
        case.world.publish(revert, newer)
        wait_for(lambda: state_of(case.world, revert) and case.world.state_of(newer), "both")
    wait_for(lambda: state_of(case.world, revert) == "completed", "the revert")
    assert _said(answers_of(case.world, revert)) == {"c1": ("failed", "pushed_since")}
    assert case.world.quantity("p1", 100_001) == 5


def test_reverts_of_several_pushes_are_a_way_back(case: Case) -> None:
    """The newest push first, then the one before it: a revert is no push that wants what it puts back."""
    pushes = [_completed(case, users, 1) for users in (5, 7)]
    for push in reversed(pushes):
        assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("updated", None)}
    assert [write["quantity_after"] for write in case.world.writes()] == [5, 7, 5, 1]


def test_a_revert_takes_the_place_of_an_older_push_that_waits(case: Case) -> None:
    """An older push of the same company and period that is not carried out yet is not carried out any more."""
    push = _completed(case, 5, 1)
    with _paused(case):
        waiting = case.world.push("p1", {1: 9})
        revert = revert_of(push)
        case.world.publish(waiting, revert)
        wait_for(lambda: state_of(case.world, revert) == "accepted", "the revert")
        wait_for(lambda: case.world.state_of(waiting) == "completed", "the older push's end")
    wait_for(lambda: state_of(case.world, revert) == "completed", "the revert")
    answer = case.world.answers(waiting)["c1"]
    assert answer is not None
    assert answer.status == "superseded"
    assert [write["quantity_after"] for write in case.world.writes()] == [5, 1]


@contextmanager
def _paused(case: Case) -> Iterator[None]:
    """ConnectWise is left alone inside; messages are accepted."""
    with case.world.database.begin() as tx:
        pauses.pause(tx, "p1", "olga", "test")
    wait_for(lambda: not case.is_running(), "the end of the run")
    yield
    with case.world.database.partner("p1") as tx:
        pauses.resume(tx, "p1")
        leases.wake(tx, "p1")


def _summed(case: Case) -> PushRequested:
    """Companies 1 and 2 are summed into one addition, which held 4.5 and was made to hold 10 by the push."""
    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = one.model_copy(update={"company_id": "c2", "company_name": "Company 2", "changed_at": now()})
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mappings")
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=4.5)
    push = _completed(case, 5, 1, 2)
    assert case.world.quantity("p1", 100_001) == 10
    return push


def test_a_sum_is_put_back_as_a_whole(case: Case) -> None:
    """The addition of two companies gets its former quantity back by one write, if both are reverted, else not."""
    push = _summed(case)
    part = carried_out(case.world, revert_of(push, "c2"))
    assert _said(part) == {"c2": ("held", "revert_incomplete")}
    problem = part["c2"].problem
    assert problem is not None
    assert "not reverted with it: Company 1" in problem.detail

    answers = carried_out(case.world, revert_of(push))
    assert _said(answers) == dict.fromkeys(("c1", "c2"), ("updated", None))
    assert [write["quantity_after"] for write in case.world.writes()] == [10, 4.5]


def test_what_was_taken_back_counts_in_no_sum(case: Case) -> None:
    """After the revert nobody knows how many users company 2 has in this period: a push of company 1 alone is held."""
    carried_out(case.world, revert_of(_summed(case)))
    answer = case.world.answers(_completed(case, 6, 1))["c1"]
    assert answer is not None
    assert (answer.status, code(answer)) == ("held", "group_incomplete")


def test_a_sum_is_one_write_wherever_a_batch_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both companies are answered with what was put back, also when only one of them is looked at first."""
    push = _summed(case)
    monkeypatch.setattr(due_work, "BATCH", 1)
    assert _said(carried_out(case.world, revert_of(push))) == dict.fromkeys(("c1", "c2"), ("updated", None))
    assert [write["quantity_after"] for write in case.world.writes()] == [10, 4.5]


def test_a_sum_of_which_a_newer_push_has_one_company_is_not_put_back(case: Case) -> None:
    """The former quantity was that of both companies: with one of them pushed anew it would be wrong."""
    push = _summed(case)
    with _paused(case):
        revert, newer = revert_of(push), case.world.push("p1", {1: 6})
        case.world.publish(revert, newer)
        wait_for(lambda: case.world.state_of(newer) == "accepted", "the newer push")
    wait_for(lambda: state_of(case.world, revert) == "completed", "the revert")
    said = _said(answers_of(case.world, revert))
    assert said == {"c1": ("superseded", "superseded"), "c2": ("held", "revert_incomplete")}
    assert case.world.quantity("p1", 100_001) == 10


def test_the_mapping_of_now_does_not_matter(case: Case) -> None:
    """A company that was mapped anew since has the addition restored that the push wrote to."""
    push = _completed(case, 5, 1)
    moved = case.world.mapped("p1", 1, base=200_000)
    case.world.publish(moved)
    wait_for(lambda: case.has_mapping_of(moved.changed_at), "the mapping")
    assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("updated", None)}
    assert (case.world.quantity("p1", 100_001), case.world.quantity("p1", 200_001)) == (1, 1)


def test_another_connectwise_is_not_touched(case: Case) -> None:
    """After connecting another ConnectWise the addition cannot be reached; its id means another record there."""
    push = _completed(case, 5, 1)
    other = case.world.connected("p1").model_copy(update={"company_identifier": "another", "changed_at": now()})
    case.world.publish(other)
    wait_for(lambda: "another" in str(case.tenant()), "the new connection")
    assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("failed", "other_connectwise")}
    assert len(case.world.writes()) == 1


def test_a_cancelled_addition_is_not_written(case: Case) -> None:
    """ConnectWise has the last word on an addition that is not billed any more; the line repeats it."""
    push = _completed(case, 5, 1)
    case.world.simulator.state.change("cw-p1", "additions", 100_001, cancelledDate="2026-01-01T00:00:00Z")
    assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("failed", "record_refused")}
    assert case.world.quantity("p1", 100_001) == 5


def test_a_revert_can_be_reverted(case: Case) -> None:
    """Taking a revert back writes the push's value again."""
    push = _completed(case, 5, 1)
    carried_out(case.world, revert := revert_of(push))
    assert _said(carried_out(case.world, revert_of(revert))) == {"c1": ("updated", None)}
    assert case.world.quantity("p1", 100_001) == 5


def test_a_push_that_runs_is_not_reverted(case: Case) -> None:
    """A push that is still being carried out would go on after its revert, which fails with what to do first."""
    case.world.simulator.faults.set([AWAY])
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push")
    assert _said(carried_out(case.world, revert_of(push))) == {"c1": ("failed", "push_running")}
    case.world.simulator.faults.clear()
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert case.world.quantity("p1", 100_001) == 5


def test_a_revert_is_cancelled_like_a_push(case: Case) -> None:
    """A revert that waits is stopped, and puts nothing back."""
    push = _completed(case, 5, 1)
    with _paused(case):
        case.world.publish(revert := revert_of(push))
        wait_for(lambda: state_of(case.world, revert) == "accepted", "the revert")
        case.world.publish(
            PushCancelRequested(
                partner_id="p1",
                correlation_id="test",
                push_id=revert.revert_id,
                requested_at=now(),
                requested_by="ana@msp.example",
            )
        )
        wait_for(lambda: state_of(case.world, revert) == "cancelled", "the end of the revert")
    assert _said(answers_of(case.world, revert)) == {"c1": ("cancelled", "cancelled")}
    assert case.world.quantity("p1", 100_001) == 5


def test_an_id_that_is_taken_is_a_conflict(case: Case) -> None:
    """A revert under the id of a push, or of another revert, is a dead letter; what has that id stands."""
    push = _completed(case, 5, 1)
    taken = revert_of(push, revert_id=push.push_id)
    carried_out(case.world, revert := revert_of(push, "c1"))
    case.world.publish(taken, revert.model_copy(update={"company_ids": None}))
    wait_for(lambda: case.dead() == {"conflict": 2}, "both dead letters")
    with case.world.database.begin() as tx:
        found = pushes.find(tx, "p1", push.push_id)
    assert found is not None
    assert (found.mode, state_of(case.world, revert)) == ("apply", "completed")


def test_a_revert_that_was_given_up_is_replayed(stack: tuple[str, str], tmp_path: Path) -> None:
    """ConnectWise was away for too long: one dead letter holds the lines, and its replay puts the quantities back."""
    with World(*stack, tmp_path, retry_for=1.0) as world:
        worker = world.start_worker()
        push = _pushed(world, {1: 10, 2: 20, 3: 30})
        world.simulator.faults.set([AWAY])
        answers = carried_out(world, revert := revert_of(push))
        assert {answer.status for answer in answers.values()} == {"failed"}
        world.simulator.faults.clear()
        letters = Letters(world)
        (letter,) = letters.all()
        assert (letter.reason, letter.kind) == ("exhausted", "revert.requested.v1")
        with world.database.begin() as tx:
            assert dead_letters.letter_of_lines(tx, "p1", revert.revert_id, "exhausted")[0] == letter.id
        dry = letters.command("replay", "--all", "--dry-run")
        assert "Would replay 1. Overtaken by newer pushes: 0 lines." in dry.stdout, dry.stderr
        newer = world.push("p1", {1: 11})
        world.publish(newer)
        wait_for(lambda: world.state_of(newer) == "completed", "the newer push")
        assert "Overtaken by newer pushes: 1 line." in letters.command("replay", "--all", "--dry-run").stdout
        if world.platform is None:
            worker.terminate()
            worker.wait()
        done = letters.command("replay", "--reason", "exhausted")
        assert (done.returncode, done.stderr) == (0, "")
        assert (
            "Replayed 1: 1 done, 0 came back, 0 not decided; 0 left. Overtaken by newer pushes: 1 line." in done.stdout
        )
        wait_for(lambda: state_of(world, revert) == "completed", "the second round")
        said = _said(answers_of(world, revert))
        assert said == {"c1": ("superseded", "superseded"), "c2": ("updated", None), "c3": ("updated", None)}
        assert [world.quantity("p1", 100_000 + number) for number in (1, 2, 3)] == [11, 1, 1]
