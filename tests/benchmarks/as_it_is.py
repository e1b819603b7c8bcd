"""The real worker with its real times and limits, and partners that are set up without asking ConnectWise first."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import insert

from messages import PushRequested
from store import connections
from store import now as database_now
from store.schema import mappings
from tests.support.memory_limit import MemoryLimited
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.cli.exits import DRAIN_TIMED_OUT


@contextmanager
def worker(world: World, memory_limit: int = 10_000) -> Iterator[MemoryLimited]:
    """`phin-connectwise worker`, from its start to its drain, with at most so many MiB of memory."""
    number = len(list(world.folder.glob("real-worker-*.log")))
    with (world.folder / f"real-worker-{number}.log").open("wb") as log:
        process = MemoryLimited(
            [sys.executable, "-m", "worker.cli", "worker"],
            limit=memory_limit,
            env=world.environment,
            stderr=log,
            cwd=Path(__file__).parents[2],
        )
        try:
            yield process
            process.terminate()
            assert process.wait(60) in {0, DRAIN_TIMED_OUT}
        finally:
            process.kill()
            process.wait()


@contextmanager
def at_work(amqp_url: str, database_url: str, folder: Path, partners: Sequence[str], companies: int) -> Iterator[World]:
    """An installation with one such worker."""
    with World(amqp_url, database_url, folder, partners, companies, call_timeout=60) as world, worker(world):
        yield world


def set_up(world: World, *partners: str, companies: int) -> None:
    """Connect these partners, and store their mappings as if they had been checked long ago."""
    for partner in partners:
        world.publish(world.connected(partner))
    wait_for(lambda: all(_is_checked(world, partner) for partner in partners), "the connections' checks", 60)
    with world.database.begin() as tx:
        at = database_now(tx)
        rows = [
            {
                "partner_id": partner,
                "company_id": f"c{number}",
                "changed_at": at,
                "message_id": f"{partner}-{number}",
                "company_name": f"Company {number}",
                "cw_company_id": number,
                "agreement_id": 1000 + number,
                "addition_id": 100_000 + number,
                "rule": "refuse",
            }
            for partner in partners
            for number in range(1, companies + 1)
        ]
        tx.execute(insert(mappings), rows)


def seconds(world: World, push: PushRequested, timeout: float = 120.0) -> float:
    """From the publishing of a push to its completion."""
    started = monotonic()
    world.publish(push)
    wait_for(lambda: world.state_of(push) == "completed", "the push", timeout)
    return monotonic() - started


def show(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Print a figure."""
    with capsys.disabled():
        print(f"\n{line}")  # noqa: T201 - that is what a measurement is for


def _is_checked(world: World, partner: str) -> bool:
    with world.database.begin() as tx:
        current = connections.current(tx, partner)
    return current is not None and current.check is not None
