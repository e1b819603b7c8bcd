"""A message that kills the process at every try takes nothing else with it."""

import json
import signal
from pathlib import Path

from sqlalchemy import select

from messages import encode
from store.schema import dead_letters
from tests.support.waiting import wait_for
from tests.support.world import World

POISONED = 17


def test_the_neighbours_of_a_poisonous_message_are_served(stack: tuple[str, str], tmp_path: Path) -> None:
    """Of 40 pushes one kills its worker again and again: 39 are served, it alone is a dead letter, `crashed`."""
    partners = [f"p{number}" for number in range(1, 41)]
    with World(*stack, tmp_path, partners, companies=1) as world:
        pushes = {}
        for number, partner in enumerate(partners, 1):
            connection, mapping = world.connected(partner), world.mapped(partner, 1)
            push = world.push(partner, {1: 100 + number}, connection=connection, mappings=[mapping])
            if number == POISONED:
                push = push.model_copy(update={"push_id": "poison"})
            pushes[partner] = push
            world.publish(connection, mapping, push)
        poison = pushes.pop(f"p{POISONED}")
        worker = world.start_worker("poison")
        deaths = 0

        def is_done() -> bool:
            nonlocal worker, deaths
            if worker.poll() is not None:
                assert worker.returncode == -signal.SIGKILL
                deaths += 1
                worker = world.start_worker("poison")
            served = all(world.state_of(push) == "completed" for push in pushes.values())
            return served and bool(_dead(world))

        wait_for(is_done, "39 pushes and one dead letter", 120)
        assert [(reason, json.loads(body)["push_id"]) for reason, body in _dead(world)] == [("crashed", "poison")]
        assert _dead(world)[0][1] == encode(poison).body
        # Once when nobody suspects it, then three tries.
        assert deaths == 4
        assert worker.poll() is None
        served = {partner: world.quantity(partner, 100_001) for partner in pushes}
        assert served == {partner: push.lines[0].billable_users for partner, push in pushes.items()}
        assert world.quantity(f"p{POISONED}", 100_001) == 1


def _dead(world: World) -> list[tuple[str, bytes]]:
    with world.database.begin() as tx:
        rows = tx.execute(select(dead_letters.c.reason, dead_letters.c.body))
        return [(row.reason, bytes(row.body)) for row in rows]
