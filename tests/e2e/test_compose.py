"""The promises of docker-compose.yml to those who deploy it, read from it without starting anything."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from worker.app import DRAIN_SECONDS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "deploy" / "env.example"
PROFILES = ("production", "demo")


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The services, volumes and networks of each profile, as Compose understands them with the example's settings."""
    if not _compose_answers():
        pytest.skip("no `docker compose` here")
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(FILE, folder)
    shutil.copy(EXAMPLE, folder / ".env")
    return {profile: _read(folder, profile) for profile in PROFILES}


def _compose_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode == 0


def _read(folder: Path, profile: str) -> dict[str, Any]:
    command = ["docker", "compose", "--file", FILE.name, "--profile", profile, "config", "--format", "json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_ports_are_open_to_this_machine_only(installations: dict[str, dict[str, Any]], profile: str) -> None:
    """Nobody from outside reaches RabbitMQ or PostgreSQL unless the operator opens them."""
    services = installations[profile]["services"].values()
    assert {port["host_ip"] for service in services for port in service.get("ports", ())} == {"127.0.0.1"}


@pytest.mark.parametrize("kind", ["services", "volumes", "networks"])
def test_demo_and_production_share_nothing(installations: dict[str, dict[str, Any]], kind: str) -> None:
    """Trying and removing the demo beside a running installation touches no event, table or file of it."""
    production, demo = (set(installations[profile][kind]) for profile in PROFILES)
    assert production
    assert demo
    assert not production & demo


@pytest.mark.parametrize(("profile", "service"), [("production", "worker"), ("demo", "demo-worker")])
def test_worker_may_drain(installations: dict[str, dict[str, Any]], profile: str, service: str) -> None:
    """A worker that is told to stop gets the time to finish what it has in hand."""
    grace = installations[profile]["services"][service]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > DRAIN_SECONDS


def test_missing_settings_are_asked_for(installations: dict[str, dict[str, Any]]) -> None:
    """An installation refuses to start without the settings that env.example leaves to fill in."""
    empty = set(re.findall(r"^(\w+)=$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    services = installations["production"]["services"]
    assert set(re.findall(r"\b[A-Z_]{5,}\b", services["settings"]["command"][0])) == empty
    assert all("settings" in services[name]["depends_on"] for name in ("rabbitmq", "postgres"))


@pytest.mark.parametrize("profile", PROFILES)
def test_one_service_builds_the_image(installations: dict[str, dict[str, Any]], profile: str) -> None:
    """The image is built once, before anything runs in it, so no later command takes the worker for outdated."""
    services = installations[profile]["services"]
    (builder,) = (name for name, service in services.items() if "build" in service)

    def waits_for(name: str) -> set[str]:
        direct = set(services[name].get("depends_on", ()))
        return direct.union(*map(waits_for, direct))

    ours = {name for name, service in services.items() if service["image"] == services[builder]["image"]}
    assert len(ours) > 1
    assert all(builder in waits_for(name) for name in ours - {builder})
