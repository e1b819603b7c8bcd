"""The status of a worker by HTTP, as probes and Prometheus see it."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from store import migrate
from tests.support.commands import run
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker import app, healthcheck
from worker.bootstrap import open_database
from worker.health import Readiness
from worker.settings import Address, Settings
from worker.status import server, status_of, store_metrics

MOST_SERIES = 300
CLIENT_ID = "00000000-0000-0000-0000-000000000001"


class Status:
    """The status server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> tuple[int, str]:
        """(HTTP status, body)."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=within(20)) as answer:  # noqa: S310 - it is ours
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str) -> tuple[int, Any]:
        """(HTTP status, content)."""
        status, body = self.ask(path)
        return status, json.loads(body)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """The value of each series, by name and labels."""
        status, text = self.ask("/metrics")
        assert status == 200
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """The value of a series, 0 if it is not there."""
        return self.samples().get((name, frozenset(labels.items())), 0.0)


def _with_status(settings: Settings) -> Settings:
    return settings.model_copy(update={"status_address": Address("127.0.0.1", 0)})


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return int(closed.getsockname()[1])


@contextmanager
def _working(world: World) -> Iterator[Status]:
    """A worker of this process, and its status."""
    settings = _with_status(world.settings)
    worker = app.build(settings)
    with status_of(worker.readiness, settings) as port, worker:
        assert port is not None
        yield Status(port)


def test_a_worker_is_live_and_ready_and_counts_what_it_did(
    amqp_url: str, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes are answered 200, and after a push the metrics say how many lines, calls and messages that was."""
    monkeypatch.setattr(store_metrics, "READ_SECONDS", 0.05)
    with World(amqp_url, postgresql_url, tmp_path, companies=2) as world, _working(world) as status:
        wait_for(lambda: status.json("/readyz") == (200, {"ok": True, "troubles": {}}), "readiness")
        assert status.json("/livez") == (200, {"ok": True, "hanging": []})
        before = status.samples()
        connection, mapped = world.connected("p1"), [world.mapped("p1", number) for number in (1, 2)]
        push = world.push("p1", {1: 5, 2: 6}, connection=connection, mappings=mapped)
        world.publish(connection, *mapped, push)
        wait_for(lambda: world.state_of(push) == "completed", "the push")

        def grown(name: str, **labels: str) -> float:
            return status.value(name, **labels) - before.get((name, frozenset(labels.items())), 0.0)

        results = {"messaging_destination_name": "connectwise.sync", "error_type": ""}
        wait_for(lambda: grown("messaging_client_sent_messages_total", **results) >= 3, "the results to be sent")
        assert grown("phin_connectwise_lines_total", status="updated", problem="") == 2
        assert grown("http_client_request_duration_seconds_count", http_request_method="PATCH") == 2
        answered = {"http_request_method": "PATCH", "http_response_status_code": "200", "error_type": ""}
        assert grown("phin_connectwise_http_answers_total", **answered) == 2
        queue = {"messaging_destination_name": "connectwise.push-requested.v1"}
        assert grown("messaging_process_duration_seconds_count", **queue) == 1
        wait_for(lambda: status.value("phin_connectwise_push_oldest_unfinished_seconds") == 0.0, "a new reading")
        assert status.value("phin_connectwise_workers", state="alive") == 1
        assert status.ask("/other")[0] == 404


def _checked(address: str) -> "subprocess.CompletedProcess[str]":
    """The check of the image, run as the Dockerfile has it."""
    given = {"PHIN_CONNECTWISE_STATUS_ADDRESS": address}
    command = [sys.executable, "-I", "-S", healthcheck.__file__]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def test_a_container_is_healthy_if_its_worker_is_ready(world: World) -> None:
    """Docker shows why it is not; the check asks where a worker listens by default."""
    assert str(Settings.model_fields["status_address"].default) == healthcheck.DEFAULT
    settings, readiness = _with_status(world.settings), Readiness()
    with status_of(readiness, settings) as port:
        before = _checked(f"0.0.0.0:{port}")
        readiness.fine("store")
        readiness.fine("broker")
        after = _checked(f"127.0.0.1:{port}")
    assert (before.returncode, after.returncode) == (1, 0)
    assert "not connected yet" in before.stdout
    gone = _checked(f"127.0.0.1:{port}")
    assert gone.returncode == 1
    assert "does not answer" in gone.stdout


def test_what_is_not_ready_is_named(sqlite_url: str, tmp_path: Path) -> None:
    """Without RabbitMQ the worker is live and not ready, and says what is away and where."""
    with World("local:", sqlite_url, tmp_path) as world:
        broker_url = SecretStr(f"amqp://guest:guest@127.0.0.1:{_closed_port()}/")
        world.settings = world.settings.model_copy(update={"broker_url": broker_url})
        with _working(world) as status:
            wait_for(lambda: "127.0.0.1" in status.json("/readyz")[1]["troubles"].get("broker", ""), "the trouble")
            assert status.json("/readyz")[0] == 503
            assert status.json("/livez")[0] == 200
            assert status.value("phin_connectwise_part_ready", part="broker") == 0


def test_a_loop_that_hangs_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose loops do not come round any more is to be restarted."""
    monkeypatch.setattr(server, "HANGS_SECONDS", -1.0)
    with _working(world) as status:
        wait_for(lambda: set(status.json("/livez")[1]["hanging"]) == {"broker", "deferred", "partners", "store"}, "all")
        assert status.json("/livez")[0] == 503


def test_a_scrape_says_that_the_database_is_away(world: World) -> None:
    """It never fails for that: one metric says so, and what is in the database is left out instead of guessed."""
    age = ("phin_connectwise_target_oldest_due_seconds", frozenset[tuple[str, str]]())
    with _working(world) as status:
        wait_for(lambda: status.value("phin_connectwise_store_up") == 1, "the database")
        assert age in status.samples()
    away = {"database_url": SecretStr(f"postgresql://nobody@127.0.0.1:{_closed_port()}/none")}
    with status_of(Readiness(), _with_status(world.settings).model_copy(update=away)) as port:
        status = Status(port or 0)
        assert status.value("phin_connectwise_store_up") == 0
        assert age not in status.samples()


def test_metrics_of_the_store_come_once_its_tables_are_there(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is started before `db upgrade` tells them after it, without a restart."""
    monkeypatch.setattr(store_metrics, "READ_SECONDS", 0.05)
    empty = {"database_url": SecretStr(f"sqlite:///{tmp_path}/empty.db")}
    settings = _with_status(world.settings).model_copy(update=empty)
    with status_of(Readiness(), settings) as port, closing(open_database(settings)) as database:
        status = Status(port or 0)
        assert status.value("phin_connectwise_store_up") == 0
        assert not (tmp_path / "empty.db").exists()  # a worker in the wrong folder leaves none there
        migrate.upgrade(database)
        wait_for(lambda: status.value("phin_connectwise_store_up") == 1, "the tables")


def test_series_do_not_grow_with_partners(world: World) -> None:
    """A thousand partners that push leave at most 300 series, and no label names one of them."""
    partners = [f"partner-{number}" for number in range(1000)]
    with _working(world) as status:
        pushes = [world.push(partner, {1: 5}) for partner in partners]
        world.publish(*pushes)
        wait_for(lambda: all(world.state_of(push) == "completed" for push in pushes[-1:]), "the last push", 120)
        samples = status.samples()
    assert len(samples) <= MOST_SERIES
    labels = {value for _, labels in samples for _, value in labels}
    assert not [value for value in labels if "partner-" in value or "cw-" in value]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """A second worker on a machine ends with the code of a wrong setting, and says which and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        keys = run("keys", "generate", folder=tmp_path).stdout
        settings = {
            "CLIENT_ID": CLIENT_ID,
            "SEAL_KEYS": next(line.partition("=")[2] for line in keys.splitlines() if "SEAL_KEYS=" in line),
            "STATUS_ADDRESS": f"127.0.0.1:{port}",
        }
        ended = run("worker", folder=tmp_path, settings=settings)
    assert ended.returncode == 5
    assert f"PHIN_CONNECTWISE_STATUS_ADDRESS: port {port} on 127.0.0.1 cannot be had" in ended.stderr
