"""The programs in docs/examples do what the docs promise, as processes of their own."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pika
import pytest

from messages import EXCHANGE_OUT
from tests.support.commands import environment
from tests.support.docs import ROOT
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker import app
from worker.setting_names import PREFIX

EXAMPLES = ROOT / "docs" / "examples"
COMPANY = ("c1", "Company 1", "42")


def _example(name: str, *arguments: str, settings: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        encoding="utf-8",
        timeout=within(120),
        check=False,
    )


def test_publisher_and_consumer(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """A platform that copies both programs pushes a company, and reads its result and the end of its push."""
    with World(amqp_url, postgresql_url, tmp_path, companies=1) as world:
        prefix = world.settings.queue_prefix
        queue = f"{prefix}example"
        worker = app.build(world.settings)
        with closing(worker.database), worker, pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, exclusive=False, auto_delete=True)
            channel.queue_bind(queue, f"{prefix}{EXCHANGE_OUT}", "#")
            world.publish(world.connected("p1"), world.mapped("p1", 1))
            log = tmp_path / "results"
            with log.open("wb") as output:
                command = [sys.executable, str(EXAMPLES / "results_consumer.py"), amqp_url, queue]
                consumer = subprocess.Popen(command, stdout=output)
                try:
                    arguments = (amqp_url, "p1", *COMPANY, "2026-11", prefix)
                    done = _example("publisher.py", *arguments, settings={}, folder=tmp_path)
                    assert done.returncode == 0, done.stderr
                    push_id = done.stdout.strip()
                    end = f"{push_id} completed 1 of 1 written"
                    wait_for(lambda: end in log.read_text("utf-8"), "the push's end at the consumer")
                finally:
                    consumer.terminate()
                    consumer.wait()
        assert f"{push_id} c1 updated" in log.read_text("utf-8")
        assert world.quantity("p1", 100_001) == 42


def test_a_publisher_without_a_worker(amqp_url: str, tmp_path: Path) -> None:
    """A platform that publishes before the worker's exchange is there learns it, and nothing is lost in silence."""
    done = _example("publisher.py", amqp_url, "p1", *COMPANY, "2026-11", "nobody.", settings={}, folder=tmp_path)
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
        done = _example("embedding.py", "p1", *COMPANY, settings=settings, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "is over" in done.stdout
        assert world.quantity("p1", 100_001) == 42
