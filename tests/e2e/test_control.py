"""An operator stops one push, one partner or everybody, and lets a paused partner or everybody go on."""

from collections import Counter
from pathlib import Path

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushCancelRequested, PushCompleted, PushRequested
from store import cancellations, leases, pauses
from tests.support.case import Case, answered_at_once
from tests.support.waiting import wait_for, within
from tests.support.world import World, now

ADDITION = Match(path=r"/additions/10000\d$")
PATCH = Match(path=r"/additions/10000\d$", method="PATCH")


def _cancel(push: PushRequested) -> PushCancelRequested:
    return PushCancelRequested(
        partner_id=push.partner_id,
        correlation_id="test",
        push_id=push.push_id,
        requested_at=now(),
        requested_by="ana@msp.example",
    )


def _cancel_first(world: World, push: PushRequested) -> None:
    world.publish(_cancel(push))

    def is_stored() -> bool:
        with world.database.begin() as tx:
            return bool(cancellations.of_pushes(tx, push.partner_id, [push.push_id]))

    wait_for(is_stored, "the cancellation")


def test_a_running_push_is_stopped(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """Lines written by then stay and say so, the rest is cancelled and never written; one completion says both."""
    with World(amqp_url, postgresql_url, tmp_path, companies=120) as world:
        connection = world.connected("p1")
        mappings = [world.mapped("p1", number) for number in range(1, 121)]
        world.publish(connection, *mappings)
        world.simulator.faults.add(faults.Latency(seconds=within(0.05), match=PATCH))
        world.start_worker()
        push = world.push("p1", {number: number + 1 for number in range(1, 121)}, mappings=mappings)
        world.publish(push)
        wait_for(lambda: len(world.writes()) >= 20, "the push is under way")
        world.publish(_cancel(push))
        wait_for(lambda: world.state_of(push) == "cancelled", "the end of the push")
        counts = Counter(str(answer and answer.status) for answer in world.answers(push).values())
        assert counts["updated"] == len(world.writes()) < 120
        assert counts["cancelled"] == 120 - counts["updated"]
        assert {row.outcome for row in world.ledger()} == {"written"}
        platform = world.platform
        assert platform is not None
        wait_for(lambda: platform.ids_of("push.completed.v1"), "the completion")
        (completed,) = [message for message in platform.received if isinstance(message, PushCompleted)]
        assert (completed.status, completed.counts.cancelled) == ("cancelled", counts["cancelled"])


def test_a_push_that_comes_after_its_cancellation_writes_nothing(case: Case) -> None:
    """Queues keep no order: a cancellation that overtakes its push still stops it."""
    push = case.world.push("p1", {1: 5, 3: 5})
    _cancel_first(case.world, push)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "cancelled", "the end of the push")
    assert {str(answer and answer.status) for answer in case.world.answers(push).values()} == {"cancelled"}
    assert case.world.writes() == []


@pytest.mark.parametrize(("arrives", "status"), [(True, "updated"), (False, "cancelled")])
def test_a_write_whose_answer_is_lost_is_looked_up_before_it_is_called_cancelled(
    case: Case, *, arrives: bool, status: str
) -> None:
    """A line says cancelled only if ConnectWise does not hold its quantity."""
    case.world.simulator.faults.add(faults.Hang(match=PATCH, applied=arrives, times=1))
    push = case.world.push("p1", {1: 5})
    case.world.publish(push)
    wait_for(lambda: len(case.world.ledger()) == 1, "the write is under way")
    case.world.publish(_cancel(push))
    wait_for(lambda: case.world.state_of(push) not in {"accepted", None}, "the end of the push")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert (answer.status, case.world.quantity("p1", 100_001)) == (status, 5 if arrives else 1)


def test_a_cancelled_company_is_missing_in_a_sum(case: Case) -> None:
    """A sum is not made with a count whose push was cancelled: the other member is held."""
    one = case.world.mapped("p1", 1).model_copy(update={"rule": "sum"})
    two = one.model_copy(update={"company_id": "c2", "company_name": "Company 2", "changed_at": now()})
    case.world.publish(one, two)
    wait_for(lambda: case.has_mapping_of(two.changed_at), "the mapping")
    push = case.world.push("p1", {2: 7})
    _cancel_first(case.world, push)
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "cancelled", "the end of the push")
    assert case.push(companies=(1,))["c1"].status == "held"
    assert case.world.writes() == []


@pytest.mark.parametrize("who", ["p1", pauses.EVERYBODY])
def test_a_paused_partner_is_not_called_until_it_is_resumed(case: Case, who: str) -> None:
    """A pause ends the slice that runs; pushes are accepted meanwhile, and go on where they were after it."""
    case.world.simulator.faults.add(faults.Latency(seconds=within(1.0), match=ADDITION))
    push = case.world.push("p1", {1: 5, 2: 6})
    case.world.publish(push)
    wait_for(case.is_running, "the run")
    with case.world.database.begin() as tx:
        pauses.pause(tx, who, "olga", "test")
    wait_for(lambda: not case.is_running(), "the end of the slice")
    called = len(case.world.simulator.log)
    newer = case.world.push("p1", {1: 8})
    case.world.publish(newer)
    wait_for(lambda: case.world.state_of(newer) == "accepted", "the newer push")
    assert case.world.state_of(push) == "accepted"
    assert len(case.world.simulator.log) == called
    with case.world.database.partner("p1") as tx:
        pauses.resume(tx, who)
        leases.wake(tx, "p1")
    wait_for(lambda: case.world.state_of(push) == case.world.state_of(newer) == "completed", "both pushes")
    assert (case.world.quantity("p1", 100_001), case.world.quantity("p1", 100_002)) == (8, 6)


def test_a_preview_of_a_paused_partner_says_so(case: Case) -> None:
    """Nobody waits for a preview until an operator resumes."""
    with case.world.database.partner("p1") as tx:
        pauses.pause(tx, "p1", "olga", "test")
    preview = case.preview()
    assert preview is not None
    assert preview.problem is not None
    assert preview.problem.code == "paused"


def test_no_line_of_a_large_preview_is_left_waiting_for_the_end_of_a_pause(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many lines wait: one run answers them all, as no other comes, but only some in each transaction."""
    sizes = answered_at_once(monkeypatch, 1)
    with case.world.database.partner("p1") as tx:
        pauses.pause(tx, "p1", "olga", "test")
    preview = case.world.push("p1", {1: 5, 2: 6}).model_copy(update={"mode": "preview"})
    case.world.publish(preview)
    wait_for(lambda: case.world.state_of(preview) == "completed", "the preview")
    assert {answer.status for answer in case.world.answers(preview).values() if answer} == {"failed"}
    assert max(sizes) == 1
