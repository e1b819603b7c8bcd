"""The same commands with RabbitMQ: they publish, a worker works, the store tells."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwclient.simulator import SimulatorServer, State
from messages import generate_keypair
from tests.support.commands import environment, run
from tests.support.partners import make_known
from tests.support.waiting import within
from worker.cli import sample
from worker.messaging.rabbitmq import RabbitBroker
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
    make_known(settings["DATABASE_URL"], "msp-1")
    check = ("topology", "check", "--json")
    assert json.loads(run(*check, folder=tmp_path, settings=settings).stdout)["ok"] is False
    ids = ("--cw-company", "1", "--agreement", "1", "--addition", "1")
    save = ("mapping", "set", "--partner", "msp-1", "--company", "c-1", *ids, "--no-wait")
    done = run(*save, folder=tmp_path, settings=settings)
    assert done.returncode == 3
    assert "phin-connectwise topology declare" in done.stderr
    assert run("topology", "declare", folder=tmp_path, settings=settings).returncode == 0
    assert json.loads(run(*check, folder=tmp_path, settings=settings).stdout) == {"ok": True, "problem": None}
    assert run(*save, folder=tmp_path, settings=settings).returncode == 0


def test_a_push_that_nobody_takes_ends_in_time(settings: dict[str, str], tmp_path: Path) -> None:
    """Without a worker a push ends with 1 after its timeout, says that it goes on, and how to see it.

    Cancelled by its id it is not waited for either: nobody can tell whether it is on its way.
    """
    make_known(settings["DATABASE_URL"], "msp-1")
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
    push_id = json.loads(done.stdout)["push"]["push_id"]
    cancelled = run("push", "cancel", "--partner", "msp-1", push_id, "--yes", folder=tmp_path, settings=settings)
    assert cancelled.returncode == 1
    assert f"No worker has accepted a push {push_id} of partner msp-1. If it is on its way" in cancelled.stderr


def test_a_wait_that_is_stopped_says_that_the_worker_goes_on(settings: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C while waiting for the worker ends with 130, and says how many lines are the worker's to do."""
    run("topology", "declare", folder=tmp_path, settings=settings)
    run("db", "upgrade", folder=tmp_path, settings=settings)
    make_known(settings["DATABASE_URL"], "msp-1")
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
        _, told = pushing.communicate(timeout=within(60))
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
