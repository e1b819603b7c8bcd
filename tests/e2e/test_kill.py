"""A worker that dies at any point loses nothing and doubles nothing."""

import signal
from pathlib import Path

from tests.support.hooked_worker import POINTS
from tests.support.stacks import at_points
from tests.support.waiting import wait_for, within
from tests.support.world import World


@at_points(*POINTS)
def test_killed_worker_leaves_the_same_end_state(stack: tuple[str, str], tmp_path: Path, point: str) -> None:
    """Killed at this point and restarted: every addition right, written once, the ledger whole, one answer a line."""
    with World(*stack, tmp_path, companies=6) as world:
        connection = world.connected("p1")
        mappings = [world.mapped("p1", number) for number in range(1, 7)]
        counts = {1: 1, 2: 20, 3: 30, 4: 40, 5: 50, 6: 60}
        killed = world.start_worker(point)
        push = world.push("p1", counts, connection=connection, mappings=mappings)
        world.publish(connection, *mappings, push)
        assert killed.wait(timeout=within(60)) == -signal.SIGKILL
        world.start_worker()
        wait_for(lambda: world.state_of(push) == "completed", "the push is completed")

        assert {number: world.quantity("p1", 100_000 + number) for number in counts} == counts
        statuses = {company: str(answer and answer.status) for company, answer in world.answers(push).items()}
        assert statuses == {"c1": "unchanged"} | dict.fromkeys(("c2", "c3", "c4", "c5", "c6"), "updated")
        befores = {company: answer and answer.quantity_before for company, answer in world.answers(push).items()}
        assert set(befores.values()) == {1}
        writes = [int(str(write["path"]).rpartition("/")[2]) for write in world.writes()]
        assert sorted(writes) == [100_002, 100_003, 100_004, 100_005, 100_006]
        rows = world.ledger()
        assert all(row.outcome is not None for row in rows)
        written = [row for row in rows if row.outcome == "written"]
        assert sorted(row.addition_id for row in written) == sorted(writes)
        assert {(row.quantity_before, row.quantity_wanted == row.quantity_after) for row in written} == {(1.0, True)}
        if world.platform is not None:
            platform = world.platform
            wait_for(lambda: len(platform.final_ids()) == 6, "a final result for every line")
            wait_for(lambda: len(platform.ids_of("push.completed.v1")) == 1, "the completion")
            assert {len(ids) for ids in platform.final_ids().values()} == {1}
            assert {len(ids) for ids in platform.ids_of("push.completed.v1").values()} == {1}


def test_stalled_lease_holder_writes_nothing_stale(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """A worker that sleeps between GET and PATCH past its lease wakes up to write nothing: another did the work."""
    with World(amqp_url, postgresql_url, tmp_path, companies=3) as world:
        connection = world.connected("p1")
        mappings = [world.mapped("p1", number) for number in range(1, 4)]
        world.start_worker("stall_before_patch")
        older = world.push("p1", {1: 10, 2: 20, 3: 30}, connection=connection, mappings=mappings)
        world.publish(connection, *mappings, older)
        stalled = tmp_path / "struck-stall_before_patch"
        wait_for(stalled.exists, "the first worker stalls")
        world.start_worker()
        newer = world.push("p1", {1: 11, 2: 22, 3: 33}, connection=connection, mappings=mappings)
        world.publish(newer)
        wait_for(lambda: world.state_of(newer) == "completed", "the newer push is completed")
        stalled.with_suffix(".go").touch()
        wait_for(lambda: b"lease.lost" in (tmp_path / "worker-0.log").read_bytes(), "the first worker notices")
        wait_for(lambda: world.state_of(older) == "completed", "the older push is completed")

        assert [world.quantity("p1", 100_000 + number) for number in (1, 2, 3)] == [11, 22, 33]
        assert sorted(write["quantity_after"] for write in world.writes()) == [11, 22, 33]
        assert {str(answer and answer.status) for answer in world.answers(older).values()} == {"superseded"}
        assert {str(answer and answer.status) for answer in world.answers(newer).values()} == {"updated"}
        assert world.platform is not None
        platform = world.platform
        wait_for(lambda: len(platform.final_ids()) == 6, "a final result for every line")
        assert {len(ids) for ids in platform.final_ids().values()} == {1}
