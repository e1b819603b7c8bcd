"""The programs in docs/examples do what the docs promise, as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pika
import pytest

from messages import EXCHANGE_OUT, KeyRing, encode
from tests.support import node
from tests.support.commands import environment
from tests.support.docs import ROOT
from tests.support.waiting import wait_for, within
from tests.support.world import PRIVATE_KEY, World
from worker import app
from worker.setting_names import PREFIX

EXAMPLES = ROOT / "docs" / "examples"
COMPANY = ("c1", "Company 1")


@pytest.fixture(params=["python", "node"])
def language(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """The command of each program in one language."""
    if request.param == "node":
        folder = request.getfixturevalue("node_examples")
        return {name: ["node", str(folder / f"{name}.mjs")] for name in ("publisher", "results_consumer")}
    return {name: [sys.executable, str(EXAMPLES / f"{name}.py")] for name in ("publisher", "results_consumer")}


@pytest.fixture(scope="module")
def node_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs in Node, with their packages."""
    return node.installed(EXAMPLES / "node", tmp_path_factory.mktemp("node") / "examples")


def _run(
    *command: str, settings: Mapping[str, str], folder: Path, given: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=folder,
        env=settings,
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=within(120),
        check=False,
    )


def test_publisher_and_consumer(
    language: dict[str, list[str]], amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """A platform that copies both programs connects with a key that it seals itself, maps, pushes, and reads the end.

    A result that comes twice is shown once.
    """
    with World(amqp_url, postgresql_url, tmp_path, companies=1) as world:
        prefix, queue = world.settings.queue_prefix, f"{world.settings.queue_prefix}example"
        settings = os.environ | {"BROKER_URL": amqp_url, "QUEUE_PREFIX": prefix, "RESULTS_QUEUE": queue}
        log = tmp_path / "results"

        def publish(*event: str, given: str = "") -> str:
            done = _run(*language["publisher"], *event, settings=settings, folder=tmp_path, given=given)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        def read(line: str) -> None:
            wait_for(lambda: line in log.read_text("utf-8").splitlines(), f"{line} at the consumer")

        worker = app.build(world.settings)
        with closing(worker.database), worker, pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_bind(queue, f"{prefix}{EXCHANGE_OUT}", "#")
            with log.open("wb") as output:
                consumer = subprocess.Popen(language["results_consumer"], env=settings, stdout=output)
                try:
                    site = (world.simulator.url, "cw-p1", "public", str(KeyRing.parse(world.keys.private).seal_key))
                    publish("connection", "p1", *site, str(world.simulator.ca_file), given=f"{PRIVATE_KEY}\n")
                    read("connection.checked.v1 ok")
                    publish("mapping", "p1", *COMPANY, "1", "1001", "100001")
                    read("mapping.checked.v1 complete")
                    push_id = publish("push", "p1", *COMPANY, "42", "2026-11")
                    read(f"{push_id} completed 1 of 1 written")
                    assert world.platform is not None
                    results = [encode(one) for one in list(world.platform.received) if one.type == "sync.result.v1"]
                    for wire in [*results, *results]:
                        properties = pika.BasicProperties(type=wire.properties.type, content_type="application/json")
                        channel.basic_publish("", queue, wire.body, properties)
                    second = publish("push", "p1", *COMPANY, "43", "2026-11")
                    read(f"{second} completed 1 of 1 written")
                finally:
                    consumer.terminate()
                    consumer.wait()
            channel.queue_delete(queue)
        assert log.read_text("utf-8").splitlines().count(f"{push_id} c1 updated") == 1
        assert world.quantity("p1", 100_001) == 43


def test_a_publisher_without_a_worker(language: dict[str, list[str]], amqp_url: str, tmp_path: Path) -> None:
    """A platform that publishes before the worker's exchange is there learns it, and nothing is lost in silence."""
    settings = os.environ | {"BROKER_URL": amqp_url, "QUEUE_PREFIX": "nobody."}
    event = ("push", "p1", *COMPANY, "42", "2026-11")
    done = _run(*language["publisher"], *event, settings=settings, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Not published: ")


@pytest.mark.parametrize("broker_url", ["local:"])
def test_embedding(broker_url: str, sqlite_url: str, tmp_path: Path) -> None:
    """A program that embeds the worker needs no broker, and gets a push done between build and drain."""
    with World(broker_url, sqlite_url, tmp_path, companies=1) as world:
        world.publish(world.connected("p1"), world.mapped("p1", 1))
        settings = {
            name.removeprefix(PREFIX): value
            for name, value in world.environment.items()
            if name.startswith(PREFIX) and name not in os.environ
        }
        command = [sys.executable, str(EXAMPLES / "embedding.py"), "p1", *COMPANY, "42"]
        done = _run(*command, settings=environment(settings), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "is over" in done.stdout
        assert world.quantity("p1", 100_001) == 42
