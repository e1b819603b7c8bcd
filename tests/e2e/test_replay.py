"""Replay: what failed is asked again and ends right, once; what is newer is never overwritten."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import KeyRing, PushRequested, encode
from store import dead_letters, outbox
from tests.support.letters import Letters
from tests.support.stacks import at_points, on_servers
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker.messaging.broker import Delivery
from worker.messaging.dead_letters import DeadLetters

AWAY = faults.Status(status=503, match=Match(path=r"/additions/10000\d$"))
COUNTS = {1: 10, 2: 20, 3: 30}


@pytest.fixture
def world(stack: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    """RabbitMQ with PostgreSQL, or embedded; lines are given up after a second."""
    with World(*stack, tmp_path, retry_for=1.0) as world:
        yield world


@pytest.fixture
def exhausted(world: World) -> PushRequested:
    """A push whose lines were given up, as ConnectWise did not answer; it answers again."""
    connection = world.connected("p1")
    mappings = [world.mapped("p1", number) for number in COUNTS]
    world.start_worker()
    world.publish(connection, *mappings)
    world.simulator.faults.set([AWAY])
    push = world.push("p1", COUNTS, connection=connection, mappings=mappings)
    world.publish(push)
    wait_for(lambda: world.state_of(push) == "completed", "the failed push")
    world.simulator.faults.clear()
    assert _statuses(world, push) == {"c1": "failed", "c2": "failed", "c3": "failed"}
    return push


def test_what_was_given_up_is_replayed_and_ends_right(world: World, exhausted: PushRequested) -> None:
    """One dead letter for all lines of the push; its replay makes every company right, and completes a second round."""
    letters = Letters(world)
    (letter,) = letters.all()
    assert (letter.reason, letter.partner_id, letter.kind) == ("exhausted", "p1", "push.requested.v1")
    grouped = letters.command("groups")
    assert "1 exhausted · exhausted · push.requested.v1 · 1 partner" in grouped.stdout, grouped.stderr
    dry = letters.command("replay", "--reason", "exhausted", "--dry-run")
    assert "Would replay 1. Overtaken by newer pushes: 0 lines." in dry.stdout, dry.stderr
    if world.platform is None:
        # Without a broker the command does the work itself.
        world.end_workers()
    done = letters.command("replay", "--reason", "exhausted", "--by", "ana", "--why", "ConnectWise is back")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == "Replayed 1: 1 done, 0 came back, 0 not decided; 0 left. Overtaken by newer pushes: 0 lines.\n"
    )
    wait_for(lambda: world.state_of(exhausted) == "completed", "the second round")
    assert _statuses(world, exhausted) == dict.fromkeys(("c1", "c2", "c3"), "updated")
    assert {number: world.quantity("p1", 100_000 + number) for number in COUNTS} == COUNTS
    assert len(world.writes()) == 3
    shown = letters.command("show", letter.id[:8])
    assert "replayed by ana: ConnectWise is back" in shown.stdout
    platform = world.platform
    if platform is not None:
        wait_for(lambda: len(platform.ids_of("push.completed.v1")[exhausted.push_id]) == 2, "a completion per round")
        assert {len(ids) for ids in platform.final_ids().values()} == {2}


@on_servers
def test_a_replay_in_vain_is_back_and_stops(world: World, exhausted: PushRequested) -> None:
    """ConnectWise is still away: the letter comes back with its lines, which the command says, and list shows."""
    world.simulator.faults.set([AWAY])
    letters = Letters(world)
    done = letters.command("replay", "--all")
    assert done.returncode == 1
    assert "came back: exhausted" in done.stderr
    wait_for(lambda: world.state_of(exhausted) == "completed", "the second round")
    (letter,) = letters.all()
    assert (letter.state, letter.returns, letter.replays) == ("open", 1, 1)
    listed = " ".join(letters.command("list").stdout.split())
    assert "came back" in listed
    world.simulator.faults.clear()
    assert letters.command("replay", letter.id[:6]).returncode == 0
    assert _statuses(world, exhausted) == dict.fromkeys(("c1", "c2", "c3"), "updated")


@on_servers
def test_what_newer_pushes_have_overtaken_is_not_written(world: World, exhausted: PushRequested) -> None:
    """Between failure and replay two companies were pushed anew: their newer counts stay, and the replay says so."""
    newer = world.push("p1", {1: 11, 2: 22})
    world.publish(newer)
    wait_for(lambda: world.state_of(newer) == "completed", "the newer push")
    letters = Letters(world)
    dry = letters.command("replay", "--all", "--dry-run")
    assert "Overtaken by newer pushes: 2 lines." in dry.stdout, dry.stderr
    done = letters.command("replay", "--all")
    assert done.returncode == 0, done.stderr
    assert "Overtaken by newer pushes: 2 lines." in done.stdout
    assert _statuses(world, exhausted) == {"c1": "superseded", "c2": "superseded", "c3": "updated"}
    assert [world.quantity("p1", 100_000 + number) for number in COUNTS] == [11, 22, 30]


@on_servers
def test_the_outlook_knows_what_has_overtaken_a_push_that_was_never_accepted(world: World) -> None:
    """A push that never got as far as to be accepted may be overtaken too: a dry run and the replay say the same."""
    connection, mapping = world.connected("p1"), world.mapped("p1", 1)
    older, newer = (world.push("p1", {1: users}, connection=connection, mappings=[mapping]) for users in (5, 6))
    wire = encode(older)
    queue, properties = "connectwise.push-requested.v1", outbox.properties_of(wire)
    delivery = Delivery("push.requested.v1", queue, wire.body, properties, redelivered=True)
    with world.database.begin() as tx:
        dead_letters.add(tx, DeadLetters(KeyRing.parse(world.keys.private)).of(delivery, "crashed", "it died"))
    world.start_worker()
    world.publish(connection, mapping, newer)
    wait_for(lambda: world.state_of(newer) == "completed", "the newer push")
    letters = Letters(world)
    dry = letters.command("replay", "--all", "--dry-run")
    assert "Overtaken by newer pushes: 1 line." in dry.stdout, dry.stderr
    done = letters.command("replay", "--all")
    assert "Overtaken by newer pushes: 1 line." in done.stdout, done.stderr
    assert world.quantity("p1", 100_001) == 6


@at_points("after_accept_commit", "before_ack", "between_publish_and_delete")
def test_a_crash_in_a_replay_neither_loses_nor_doubles(world: World, exhausted: PushRequested, point: str) -> None:
    """The worker dies between the replay's commit and its relay, or between handling and ack: one round, one write."""
    letters = Letters(world)
    world.end_workers()
    no_worker = letters.command("replay", "--all", "--timeout", "1") if world.platform is not None else None
    assert no_worker is None or "1 letter waits; it goes on with the worker" in no_worker.stderr
    if no_worker is None:
        assert letters.replay_all() == 1
    killed = world.start_worker(point)
    assert killed.wait(timeout=within(60)) == -signal.SIGKILL
    world.start_worker()
    # The worker may have died before it took the replay: then the first round's end is still to be seen.
    wait_for(lambda: "failed" not in _statuses(world, exhausted).values(), "the second round")
    wait_for(lambda: world.state_of(exhausted) == "completed", "its end")
    assert _statuses(world, exhausted) == dict.fromkeys(("c1", "c2", "c3"), "updated")
    assert len(world.writes()) == 3
    (letter,) = letters.all()
    assert (letter.state, letter.replays, letter.applied, letter.returns) == ("replayed", 1, 1, 0)
    platform = world.platform
    if platform is not None:
        wait_for(lambda: len(platform.ids_of("push.completed.v1")[exhausted.push_id]) == 2, "a completion per round")


@on_servers
def test_a_conflict_stays_a_conflict(world: World) -> None:
    """A push id that was used for another push does not become right by a replay; the first push stands."""
    connection, mapping = world.connected("p1"), world.mapped("p1", 1)
    push = world.push("p1", {1: 5}, connection=connection, mappings=[mapping])
    world.start_worker()
    world.publish(connection, mapping, push)
    wait_for(lambda: world.state_of(push) == "completed", "the push")
    line = push.lines[0].model_copy(update={"billable_users": 6})
    world.publish(push.model_copy(update={"lines": (line,)}))
    letters = Letters(world)
    letters.wait()
    done = letters.command("replay", "--reason", "conflict")
    assert (done.returncode, "came back: conflict" in done.stderr) == (1, True), done.stderr
    (letter,) = letters.all()
    assert (letter.state, letter.returns) == ("open", 1)
    assert world.quantity("p1", 100_001) == 5


def _statuses(world: World, push: PushRequested) -> dict[str, str]:
    return {company: str(answer and answer.status) for company, answer in world.answers(push).items()}
