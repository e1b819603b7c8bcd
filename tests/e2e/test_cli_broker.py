"""The same commands with RabbitMQ: they publish, a worker works, the store tells."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwclient.simulator import SimulatorServer, State
from messages import generate_keypair
from tests.support.commands import environment, run
from worker import sample
from worker.broker import RabbitBroker
from worker.topology import Topology


@pytest.fixture
def settings(amqp_url: str, postgresql_url: str) -> Iterator[dict[str, str]]:
    """Settings with a database and names in RabbitMQ of the test's own, which are removed at the end."""
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    yield {
        "BROKER_URL": amqp_url,
        "QUEUE_PREFIX": prefix,
        "DATABASE_URL": postgresql_url,
        "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "SEAL_KEYS": generate_keypair().private,
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    RabbitBroker(amqp_url, Topology(prefix=prefix)).delete()


def test_a_missing_exchange_says_what_to_run(settings: dict[str, str], tmp_path: Path) -> None:
    """Publishing before the worker is deployed ends with 3 and names `topology declare`, which then helps."""
    check = ("topology", "check", "--json")
    assert json.loads(run(*check, folder=tmp_path, settings=settings).stdout)["ok"] is False
    remove = ("connection", "remove", "--partner", "msp-1", "--no-wait")
    done = run(*remove, folder=tmp_path, settings=settings)
    assert done.returncode == 3
    assert "phin-connectwise topology declare" in done.stderr
    assert run("topology", "declare", folder=tmp_path, settings=settings).returncode == 0
    assert json.loads(run(*check, folder=tmp_path, settings=settings).stdout) == {"ok": True, "problem": None}
    assert run(*remove, folder=tmp_path, settings=settings).returncode == 0


def test_a_push_that_nobody_takes_ends_in_time(settings: dict[str, str], tmp_path: Path) -> None:
    """Without a worker a push ends with 1 after its timeout, says that it goes on, and how to see it."""
    run("topology", "declare", folder=tmp_path, settings=settings)
    command = (
        "push",
        "--partner",
        "msp-1",
        "--period",
        "2026-11",
        "--counts",
        sample.COUNTS,
        "--timeout",
        "1",
        "--json",
    )
    done = run(*command, folder=tmp_path, settings=settings)
    assert done.returncode == 1
    assert json.loads(done.stdout)["push"]["state"] == "sent"
    assert "phin-connectwise status --partner msp-1 --push" in done.stderr


def test_a_wait_that_is_stopped_says_that_the_worker_goes_on(settings: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C while waiting for the worker ends with 130, and says how many lines are the worker's to do."""
    run("topology", "declare", folder=tmp_path, settings=settings)
    run("db", "upgrade", folder=tmp_path, settings=settings)
    push = ("push", "--partner", "msp-1", "--period", "2026-11", "--counts", str(sample.COUNTS))
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *push],
        cwd=tmp_path,
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as pushing:
        assert pushing.stderr is not None
        assert pushing.stderr.readline().startswith("Push ")
        pushing.send_signal(signal.SIGINT)
        _, told = pushing.communicate(timeout=60)
    assert pushing.returncode == 130, told
    assert "Stopped. 25 lines wait; they go on with the worker. See: phin-connectwise status" in told


def test_the_demo_runs_on_rabbitmq_and_postgresql(settings: dict[str, str], tmp_path: Path) -> None:
    """`demo` with a simulator, a RabbitMQ and a database that are given leaves its folder empty and ends with 0."""
    command = [sys.executable, "-m", "worker.cli", "worker"]
    with (
        SimulatorServer(State.from_file(sample.SIMULATOR_STATE)) as simulator,
        subprocess.Popen(command, cwd=tmp_path, env=environment(settings), stderr=subprocess.DEVNULL) as worker,
    ):
        try:
            run("topology", "declare", folder=tmp_path, settings=settings)
            where = ("--simulator-url", simulator.url, "--ca-file", str(simulator.ca_file))
            done = run("demo", *where, folder=tmp_path, settings=settings)
        finally:
            worker.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ConnectWise saw 11 PATCH requests in the first push" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_each_step_of_a_coordinator_has_its_command(settings: dict[str, str], tmp_path: Path) -> None:
    """Connect, review the rights, choose, map, preview, push, look, undo: all by commands, through RabbitMQ."""
    partner = ("--partner", "msp-1")
    counts = tmp_path / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-101,Alder,21\nc-102,Bluewater,95\n", "utf-8")
    (tmp_path / "key.txt").write_text("Demo4PrivateKey", "utf-8")
    push = ("push", *partner, "--period", "2026-11", "--counts", counts)

    with (
        SimulatorServer(State.from_file(sample.SIMULATOR_STATE)) as simulator,
        subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "worker"],
            cwd=tmp_path,
            env=environment(settings),
            stderr=subprocess.DEVNULL,
        ) as worker,
    ):

        def told(*command: str | Path, code: int = 0) -> Any:
            done = run(*command, "--json", folder=tmp_path, settings=settings)
            assert done.returncode == code, done.stdout + done.stderr
            return json.loads(done.stdout)

        def mapped(company: str, number: int) -> Any:
            """What `mapping set` says of company number 2000 + n, agreement 400 + n, addition 7100 + n."""
            ids = (str(base + number) for base in (2000, 400, 7100))
            options = zip(("--cw-company", "--agreement", "--addition"), ids, strict=True)
            return told("mapping", "set", *partner, "--company", company, *(word for pair in options for word in pair))

        def writes() -> int:
            return sum(record["method"] == "PATCH" for record in simulator.log)

        try:
            run("topology", "declare", folder=tmp_path, settings=settings)
            run("db", "upgrade", folder=tmp_path, settings=settings)
            keys = ("--company", "harbourit", "--public-key", "Demo4PublicKey", "--private-key-file", "key.txt")
            site = ("--site", simulator.url, "--ca-file", str(simulator.ca_file))
            assert told("connection", "set", *partner, *site, *keys)["check"]["status"] == "ok"
            rights = told("connection", "check", *partner)["check"]["rights"]
            assert [right["state"] for right in rights] == ["granted", "granted", "unproven"]

            companies = told("catalog", "companies", *partner, "--search", "alder")["choices"]
            agreements = told("catalog", "agreements", *partner, "--company", str(companies[0]["id"]))["choices"]
            additions = told("catalog", "additions", *partner, "--agreement", str(agreements[0]["id"]))["choices"]
            assert [(one["product"], one["quantity"], one["problem"]) for one in additions] == [("PHIN-SAT", 18, None)]
            suggested = told("mapping", "suggest", *partner, "--counts", counts)["suggestions"]
            assert {one["company_id"] for one in suggested} <= {"c-101", "c-102"}
            assert [mapped("c-101", 1)[0]["state"], mapped("c-102", 2)[0]["state"]] == ["complete", "complete"]
            assert told("mapping", "health", *partner) == []

            foreseen = told(*push, "--preview", code=1)["lines"]
            assert [(line["status"], line["difference"], line["amount_difference"]) for line in foreseen] == [
                ("preview", 3, 7.5),
                ("held", 86, 215),
            ]
            assert writes() == 0
            assert told(*push, code=1)["counts"] == {"updated": 1, "held": 1}
            confirmed = told(*push, "--confirm", "c-102")
            assert confirmed["counts"] == {"unchanged": 1, "updated": 1}
            assert told("status", *partner)["counts"] == {"unchanged": 1, "updated": 1}
            (right,) = [r for r in told("connection", "list")[0]["check"]["rights"] if "Edit" in r["right"]]
            assert right["state"] == "granted"

            undone = told("revert", *partner, "--push", confirmed["push"]["push_id"])
            assert undone["counts"] == {"updated": 1}
            assert simulator.state.quantity("harbourit", 7102) == 9
            ledger = told("ledger", "list", *partner)["writes"]
            assert [(row["quantity_before"], row["quantity_after"]) for row in ledger] == [(95, 9), (9, 95), (18, 21)]
            assert run("connection", "remove", *partner, folder=tmp_path, settings=settings).returncode == 0
            assert told(*push, code=1)["counts"] == {"failed": 2}
        finally:
            worker.terminate()
