"""ConnectWise's limit of requests: kept, also when the lease goes from worker to worker."""

import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from cwclient.simulator import StateDocument
from messages import PushRequested
from tests.benchmarks.as_it_is import set_up, show, worker
from tests.support.databases import Postgresql
from tests.support.world import World

pytestmark = pytest.mark.benchmark

COMPANIES = 2_000
LIMIT = 1_000
CHANGE_SECONDS = 30.0
REFUSED_SHARE = 0.01


def test_a_push_stays_within_the_limit(
    amqp_url: str,
    postgresql: Postgresql,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2,000 companies at a limit of 1,000 requests a minute: no line fails, hardly a request is refused.

    Twice side by side: with one worker all the time, and with another one every 30 s.
    """
    with ExitStack() as stack:
        worlds, pushes = [], []
        for name in ("steady", "changing"):
            folder = tmp_path / name
            folder.mkdir()
            url = stack.enter_context(postgresql.database())
            world = stack.enter_context(World(amqp_url, url, folder, companies=COMPANIES, call_timeout=60))
            worlds.append(world)
            limited = {"tenants": [{"company_identifier": "cw-p1", "requests_per_minute": LIMIT}]}
            world.simulator.state.merge(StateDocument.model_validate(limited))
        steady, changing = worlds
        stack.enter_context(worker(steady))
        current = stack.enter_context(ExitStack())
        current.enter_context(worker(changing))
        for world in worlds:
            set_up(world, "p1", companies=COMPANIES)
            push = world.push("p1", {number: number % 50 + 2 for number in range(1, COMPANIES + 1)})
            world.publish(push)
            pushes.append(push)
        changes, changed_at, pause = 0, monotonic(), threading.Event()
        while not all(world.state_of(push) == "completed" for world, push in zip(worlds, pushes, strict=True)):
            pause.wait(0.5)
            if monotonic() > changed_at + CHANGE_SECONDS:
                current.close()
                current.enter_context(worker(changing))
                changes, changed_at = changes + 1, monotonic()
        for world, push, how in zip(worlds, pushes, ("one worker", f"{changes} changes of worker"), strict=True):
            share = _refused(world)
            show(
                capsys,
                f"limits: with {how} {share:.2%} of {len(world.simulator.log):,} requests were refused (limit 1 %)",
            )
            assert share < REFUSED_SHARE
            assert _statuses(world, push) == {"updated"}


def _refused(world: World) -> float:
    return sum(record["status"] == 429 for record in world.simulator.log) / len(world.simulator.log)


def _statuses(world: World, push: PushRequested) -> set[str]:
    return {str(answer and answer.status) for answer in world.answers(push).values()}
