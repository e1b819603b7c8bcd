"""`revert` and `ledger` as a person or a script uses them, on both stacks."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages import PushRequested
from tests.support.commands import run
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.setting_names import PREFIX

OF_PARTNER = ("--partner", "p1")
REVERT = ("revert", *OF_PARTNER, "--yes")


@pytest.fixture
def world(stack: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    """RabbitMQ with PostgreSQL and a worker, or embedded, where the commands work themselves."""
    with World(*stack, tmp_path, companies=3) as world:
        yield world


@pytest.fixture
def pushed(world: World) -> PushRequested:
    """Companies 1 and 2 hold 4.5 and 1 and were pushed to 10 and 20; company 3 is not mapped. `=SUM` is a name."""
    world.simulator.state.change("cw-p1", "additions", 100_001, quantity=4.5)
    connection = world.connected("p1")
    one = world.mapped("p1", 1).model_copy(update={"company_name": "=SUM(A1)"})
    two = world.mapped("p1", 2)
    push = world.push("p1", {1: 10, 2: 20, 3: 30}, connection=connection, mappings=[one, two])
    worker = world.start_worker()
    world.publish(connection, one, two, push)
    wait_for(lambda: world.state_of(push) == "completed", "the push")
    if world.platform is None:
        worker.terminate()
        worker.wait()
    return push


def _run(world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    settings = {
        name.removeprefix(PREFIX): value for name, value in world.environment.items() if name.startswith(PREFIX)
    }
    return run(*arguments, folder=world.folder, settings=settings)


def _json(world: World, *arguments: str) -> Any:
    return json.loads(_run(world, *arguments, "--json").stdout)


def test_a_revert_asks_first(world: World, pushed: PushRequested) -> None:
    """A revert, which takes billing away, is done after a yes only; without one nothing is sent."""
    asked = _run(world, "revert", *OF_PARTNER, "--push", pushed.push_id)
    assert asked.returncode == 1
    assert f"Put back what push {pushed.push_id} of 2026-11 wrote, all of it?" in asked.stderr
    assert len(world.writes()) == 2


def test_a_push_is_taken_back(world: World, pushed: PushRequested) -> None:
    """`revert` shows what was put back, ends with 0, and changes nothing the second time; status shows it again."""
    done = _run(world, *REVERT, "--push", pushed.push_id)
    assert done.returncode == 0, done.stderr
    assert "10 → 4.5" in done.stdout
    assert "20 → 1" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 companies: 2 reverted"
    assert "2 reverted" in _run(world, "status", *OF_PARTNER).stdout  # no green check: the period is not billed
    revert_id = done.stderr.split()[1].rstrip(":")
    status = _json(world, "status", *OF_PARTNER, "--push", revert_id)
    assert (status["push"]["mode"], status["push"]["reverts"]) == ("revert", pushed.push_id)
    assert status["counts"] == {"updated": 2}
    again = _json(world, *REVERT, "--push", pushed.push_id)
    assert again["counts"] == {"unchanged": 2}
    assert [write["quantity_after"] for write in world.writes()][2:] in ([4.5, 1], [1, 4.5])


def test_what_is_not_put_back_ends_with_1(world: World, pushed: PushRequested) -> None:
    """A company that was changed since is named with the reason; one that was not written is no unmapped user."""
    world.simulator.state.change("cw-p1", "additions", 100_002, quantity=21)
    named = ("--company", "c2", "--company", "c3")
    done = _run(world, *REVERT, "--push", pushed.push_id, *named)
    assert done.returncode == 1, done.stderr
    assert "Changed since the push" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 companies: 1 failed, 1 skipped"
    assert world.quantity("p1", 100_001) == 10


def test_what_cannot_be_reverted_is_told(world: World, pushed: PushRequested) -> None:
    """An unknown push is an error of usage; one that wrote nothing is refused, also when it is looked at later."""
    unknown = _run(world, *REVERT, "--push", "nobody")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "No push nobody of partner p1 is known" in unknown.stderr
    (world.folder / "same.csv").write_text("company_id,company_name,billable_users\nc1,Company 1,10\n")
    same = _json(world, "push", *OF_PARTNER, "--period", "2026-11", "--counts", "same.csv")
    assert same["counts"] == {"unchanged": 1}
    refused = _run(world, *REVERT, "--push", same["push"]["push_id"])
    assert refused.returncode == 1
    assert refused.stdout.startswith("✗ Refused: Nothing to put back.")
    revert_id = refused.stderr.split()[1].rstrip(":")
    assert _run(world, "status", *OF_PARTNER, "--push", revert_id).returncode == 1


def test_the_ledger_is_listed_and_exported(world: World, pushed: PushRequested) -> None:
    """Every write with who, when, period, before and after; a cell that a spreadsheet would run is harmless."""
    reverted = _json(world, *REVERT, "--push", pushed.push_id, "--company", "c1", "--by", "olga")
    revert_id = reverted["push"]["push_id"]
    listed = _json(world, "ledger", "list", *OF_PARTNER, "--company", "c1")
    kept = ("push_id", "kind", "requested_by", "quantity_before", "quantity_wanted", "quantity_after", "outcome")
    assert [tuple(write[name] for name in kept) for write in listed["writes"]] == [
        (revert_id, "revert", "olga", 10, 4.5, 4.5, "written"),
        (pushed.push_id, "apply", "ana@msp.example", 4.5, 10, 10, "written"),
    ]
    assert listed["more"] is False
    shown = _run(world, "ledger", "list", *OF_PARTNER, "--limit", "1").stdout
    assert "10 → 4.5" in shown
    assert "and more" in shown
    assert _json(world, "ledger", "list", *OF_PARTNER, "--period", "2026-10")["writes"] == []
    assert _run(world, "ledger", "list", *OF_PARTNER, "--period", "someday").returncode == 2

    exported = _run(world, "ledger", "export", *OF_PARTNER)
    assert exported.returncode == 0, exported.stderr
    _run(world, "ledger", "export", *OF_PARTNER, "ledger.csv")
    assert (world.folder / "ledger.csv").read_text("utf-8-sig") == exported.stdout
    rows = list(csv.DictReader(io.StringIO(exported.stdout)))
    assert [row["push_id"] for row in rows] == [pushed.push_id, pushed.push_id, revert_id]
    last = rows[-1]
    assert (last["company_ids"], last["company_names"], last["period"]) == ("c1", "'=SUM(A1)", "2026-11")
    assert (last["agreement_id"], last["addition_id"], last["http_status"]) == ("1001", "100001", "200")
    assert last["opened_at"] <= last["closed_at"]
    assert last["tenant"].endswith(" cw-p1")
    one = list(csv.DictReader(io.StringIO(_run(world, "ledger", "export", *OF_PARTNER, "--push", revert_id).stdout)))
    assert one == [last]
