"""A trouble of ours, a bug or our clientId, costs no partner more than it must, and operators learn of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import MappingChecked, Message, PushRequested, SyncResult, encode, generate_keypair
from tests.support.case import code
from tests.support.letters import Letters
from tests.support.passing import is_left_alone, time_passes
from tests.support.stacks import on_servers
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.rules import retry


def _logged(world: World, number: int, event: str) -> list[dict[str, Any]]:
    """The entries of this event in this worker's log."""
    lines = (world.folder / f"worker-{number}.log").read_text("utf-8").splitlines()
    return [entry for line in lines if line.startswith("{") and (entry := json.loads(line))["event"] == event]


def _checked(received: Sequence[Message]) -> set[tuple[str, str]]:
    """The mappings, by partner and company, whose checks the platform has."""
    return {(one.partner_id, one.company_id) for one in received if isinstance(one, MappingChecked)}


def _final(world: World, push: PushRequested) -> dict[str, SyncResult]:
    wait_for(lambda: world.state_of(push) == "completed", "the push's completion", 60)
    return {company: answer for company, answer in world.answers(push).items() if answer is not None}


@on_servers
@pytest.mark.parametrize("point", ["bug_in_an_addition", "bug_in_a_write"])
def test_a_bug_in_one_addition_is_tried_three_times_and_fails_alone(
    stack: tuple[str, str], tmp_path: Path, point: str
) -> None:
    """Its line says that it was reported, the log has the traceback, a replay by a mended worker ends right."""
    with World(*stack, tmp_path, companies=3) as world:
        connection, mappings = world.connected("p1"), [world.mapped("p1", number) for number in (1, 2, 3)]
        push = world.push("p1", {1: 5, 2: 6, 3: 7}, connection=connection, mappings=mappings)
        world.start_worker(point)
        world.publish(connection, *mappings, push)
        answers = _final(world, push)
        assert {company: (answer.status, answer.attempts) for company, answer in answers.items()} == {
            "c1": ("failed", 3),
            "c2": ("updated", 1),
            "c3": ("updated", 1),
        }
        problem = answers["c1"].problem
        assert problem is not None
        assert (problem.code, problem.title) == ("unexpected", "An internal error")
        assert problem.detail.startswith("Something went wrong on our side. It was reported.")
        assert problem.who == "phin_support"
        told = _logged(world, 0, "call.unexpected")
        assert [(one["level"], one["partner"]) for one in told] == [("error", "p1")] * 3
        assert all("a bug of ours" in one["exception"] for one in told)
        (letter,) = Letters(world).all()
        assert (letter.reason, letter.partner_id) == ("unexpected", "p1")
        assert [line["company_id"] for line in json.loads(letter.body)["lines"]] == ["c1"]
        assert sorted(write["quantity_after"] for write in world.writes()) == [6, 7]

        world.end_workers()
        world.start_worker()
        done = Letters(world).command("replay", letter.id)
        assert done.returncode == 0, done.stderr
        assert world.quantity("p1", 100_001) == 5
        assert len(world.writes()) == 3


@on_servers
def test_a_bug_after_a_write_does_not_repeat_it(stack: tuple[str, str], tmp_path: Path) -> None:
    """We stumble over each answer to a write: what was written is read, written once, and the lines are right."""
    with World(*stack, tmp_path, companies=2) as world:
        connection, mappings = world.connected("p1"), [world.mapped("p1", number) for number in (1, 2)]
        push = world.push("p1", {1: 5, 2: 6}, connection=connection, mappings=mappings)
        world.start_worker("bug_after_a_write")
        world.publish(connection, *mappings, push)
        answers = _final(world, push)
        assert {(answer.status, answer.quantity_before) for answer in answers.values()} == {("updated", 1)}
        assert sorted(write["quantity_after"] for write in world.writes()) == [5, 6]
        assert Letters(world).all() == []


def test_a_bug_in_one_message_is_tried_three_times_and_kept(stack: tuple[str, str], tmp_path: Path) -> None:
    """A push that our code cannot handle is a dead letter with the place of the bug; others are served meanwhile."""
    with World(*stack, tmp_path, companies=2) as world:
        connection, mappings = world.connected("p1"), [world.mapped("p1", number) for number in (1, 2)]
        world.publish(connection, *mappings)
        poison = world.push("p1", {1: 5}).model_copy(update={"push_id": "poison"})
        good = world.push("p1", {2: 6}, connection=connection, mappings=mappings)
        world.start_worker("bug_in_a_push")
        world.publish(poison, good)
        assert _final(world, good)["c2"].status == "updated"
        (letter,) = Letters(world).wait()
        assert (letter.reason, letter.error_type, letter.error, letter.attempts) == (
            "unexpected",
            "LookupError",
            "LookupError: a bug of ours",
            3,
        )
        assert letter.body == encode(poison).body
        # Once when nobody suspects it, then three tries.
        assert len(_logged(world, 0, "message.failed")) == 4
        assert world.quantity("p1", 100_001) == 1


def test_a_refused_client_id_stops_one_partner_until_it_is_accepted(
    amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """Lines wait, none fails; one request in 5 minutes asks again; operators read it; other partners are served."""
    with World(amqp_url, postgresql_url, tmp_path, ["p1", "p2"], companies=2) as world:
        platform = world.platform
        assert platform is not None
        world.start_worker()
        for partner in ("p1", "p2"):
            world.publish(world.connected(partner), world.mapped(partner, 1), world.mapped(partner, 2))
        # A busy worker may publish an answer twice.
        wait_for(lambda: len(_checked(platform.received)) == 4, "the checks")
        world.simulator.faults.set([faults.MissingClientId(match=Match(tenant="cw-p1"))])
        asked = len(world.simulator.log)
        refused, served = world.push("p1", {1: 5, 2: 6}), world.push("p2", {1: 5, 2: 6})
        world.publish(refused, served)

        def waiting(requests: int) -> SyncResult:
            wait_for(lambda: _statuses(world, asked) == [403] * requests, "the request")
            wait_for(lambda: is_left_alone(world.database, "p1"), "the pause")
            (answer,) = [answer for answer in world.answers(refused).values() if answer is not None]
            assert [one["partner"] for one in _logged(world, 0, "client_id.refused")] == ["p1"] * requests
            wait_for(lambda: world.command("health").returncode == 0, "the worker's heartbeat")
            health = world.command("health", "--json").stdout
            assert "1 partner: ConnectWise refused our clientId; check PHIN_CONNECTWISE_CLIENT_ID" in health
            return answer

        waiting(1)
        assert {answer.status for answer in _final(world, served).values()} == {"updated"}
        time_passes(world.database, retry.OUR_FAULT_PAUSE)
        answer = waiting(2)
        assert (answer.status, code(answer), answer.attempts) == ("retrying", "client_id", 0)
        problem = answer.problem
        assert problem is not None
        assert problem.title == "We are fixing a setting of ours"
        assert problem.fix == "Nothing to do: pushes go on by themselves."
        assert problem.said == "The request header clientId is missing or not valid."

        world.simulator.faults.clear()
        time_passes(world.database, retry.OUR_FAULT_PAUSE)
        answered = _final(world, refused).values()
        assert {(answer.status, answer.attempts) for answer in answered} == {("updated", 1)}
        assert {one["level"] for one in _logged(world, 0, "client_id.refused")} == {"error"}
        assert Letters(world).all() == []


@on_servers
def test_a_lost_seal_key_fails_no_line(stack: tuple[str, str], tmp_path: Path) -> None:
    """A worker that starts with other seal keys leaves partners alone, and says so; with the right ones they go on."""
    with World(*stack, tmp_path, companies=1) as world:
        connection, mapping = world.connected("p1"), world.mapped("p1", 1)
        first = world.push("p1", {1: 5}, connection=connection, mappings=[mapping])
        world.start_worker()
        world.publish(connection, mapping, first)
        assert _final(world, first)["c1"].status == "updated"
        world.end_workers()

        right, world.keys = world.keys, generate_keypair()
        world.start_worker()
        push = world.push("p1", {1: 6})
        world.publish(push)
        wait_for(lambda: is_left_alone(world.database, "p1"), "the pause")
        told = _logged(world, 1, "seal_key.missing")
        assert [(one["level"], one["partner"]) for one in told] == [("error", "p1")]
        (answer,) = world.answers(push).values()
        assert answer is not None
        assert (answer.status, code(answer), answer.attempts) == ("retrying", "seal_key_missing", 0)
        world.end_workers()

        world.keys = right
        world.start_worker()
        time_passes(world.database, retry.OUR_FAULT_PAUSE)
        assert _final(world, push)["c1"].status == "updated"
        assert Letters(world).all() == []


def _statuses(world: World, since: int) -> list[int | None]:
    """The statuses of ConnectWise's answers to p1 since then."""
    return [record["status"] for record in world.simulator.log[since:] if record["tenant"] == "cw-p1"]
