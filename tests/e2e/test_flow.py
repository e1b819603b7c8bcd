"""The whole flow with real RabbitMQ and PostgreSQL, the platform played by pika."""

import random
from collections import defaultdict
from pathlib import Path

import pytest

from messages import Message, PushRequested
from tests.support.waiting import wait_for, within
from tests.support.world import World

PARTNERS = ("p1", "p2", "p3")
COMPANIES = 200


def test_repeated_and_shuffled_events_end_at_the_newest_wish(
    amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """Every addition ends at the newest target and each question has one answer, whatever is repeated or reordered."""
    chance = random.Random(7)
    with World(amqp_url, postgresql_url, tmp_path, PARTNERS, COMPANIES) as world:
        events: list[Message] = []
        pushes: dict[str, list[PushRequested]] = {}
        wanted: dict[tuple[str, int], int] = {}
        remapped = set(chance.sample(range(1, COMPANIES + 1), 40))
        for partner in PARTNERS:
            connection = world.connected(partner)
            first = [world.mapped(partner, number) for number in range(1, COMPANIES + 1)]
            later = [world.mapped(partner, number, base=200_000) for number in sorted(remapped)]
            newest = [*(m for m in first if int(m.company_id[1:]) not in remapped), *later]
            pushes[partner] = []
            for _ in range(2):
                counts = {number: chance.randrange(1, 500) for number in range(1, COMPANIES + 1)}
                wanted.update({(partner, number): users for number, users in counts.items()})
                pushes[partner].append(world.push(partner, counts, connection=connection, mappings=newest))
            events += [connection, *first, *later, *pushes[partner]]
        twice = events * 2
        chance.shuffle(twice)
        world.start_worker()
        world.start_worker()
        for start in range(0, len(twice), 200):
            world.publish(*twice[start : start + 200])
        everything = [push for of_partner in pushes.values() for push in of_partner]
        wait_for(lambda: all(world.state_of(push) == "completed" for push in everything), "all pushes completed", 180)

        for (partner, number), users in wanted.items():
            base = 200_000 if number in remapped else 100_000
            assert world.quantity(partner, base + number) == users
        _no_stale_value(world, pushes)
        _only_named_additions(world, remapped)
        assert world.platform is not None
        platform = world.platform
        asked = {(push.push_id, f"c{n}") for push in everything for n in range(1, COMPANIES + 1)}
        wait_for(lambda: platform.final_ids().keys() == asked, "a final result for every line")
        assert {len(ids) for ids in platform.final_ids().values()} == {1}
        wait_for(lambda: len(platform.ids_of("push.completed.v1")) == len(everything), "every push's completion")
        assert {len(ids) for ids in platform.ids_of("push.completed.v1").values()} == {1}


def _no_stale_value(world: World, pushes: dict[str, list[PushRequested]]) -> None:
    """Once the newer push's value was written to an addition, the older one's must not be."""
    for partner, (_, newer) in pushes.items():
        newest = {int(line.company_id[1:]): line.billable_users for line in newer.lines}
        seen: dict[int, list[float]] = defaultdict(list)
        for write in world.writes(partner):
            seen[int(str(write["path"]).rpartition("/")[2])].append(write["quantity_after"])
        for addition, values in seen.items():
            users = newest[addition % 100_000]
            if users in values:
                assert values.index(users) == len(values) - 1, f"{partner} {addition}: {values}, newest is {users}"


def _only_named_additions(world: World, remapped: set[int]) -> None:
    """A remapped company is written under its new mapping only, the others under their only one."""
    for write in world.writes():
        addition = int(str(write["path"]).rpartition("/")[2])
        assert (addition >= 200_000) == (addition % 100_000 in remapped)


@pytest.mark.parametrize("at", [1, 3])
def test_drain_hands_the_rest_to_another_worker(amqp_url: str, postgresql_url: str, tmp_path: Path, at: int) -> None:
    """SIGTERM in the middle of a 500-company push: the worker exits 0 in time, another finishes, nothing is doubled."""
    with World(amqp_url, postgresql_url, tmp_path, companies=500) as world:
        connection = world.connected("p1")
        mappings = [world.mapped("p1", number) for number in range(1, 501)]
        first = world.start_worker()
        world.publish(connection, *mappings)
        push = world.push("p1", {number: number for number in range(2, 501)}, connection=connection, mappings=mappings)
        world.publish(push)
        wait_for(lambda: len(world.writes()) >= 50 * at, "the push is under way", timeout=60)
        first.terminate()
        assert first.wait(timeout=within(30)) == 0
        written = len(world.writes())
        assert 50 * at <= written < 499
        world.start_worker()
        wait_for(lambda: world.state_of(push) == "completed", "the push is completed", timeout=60)
        assert len(world.writes()) == 499
        assert {str(answer and answer.status) for answer in world.answers(push).values()} == {"updated"}
        assert world.platform is not None
        platform = world.platform
        wait_for(lambda: len(platform.final_ids()) == 499, "a final result for every line")
        assert {len(ids) for ids in platform.final_ids().values()} == {1}
