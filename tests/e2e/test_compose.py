"""The promises of docker-compose.yml to those who deploy it, read from it without starting anything."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.commands import PROGRAM
from worker.app import DRAIN_SECONDS
from worker.messaging.rabbitmq.users import users
from worker.topology import Topology

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


# --- read without Compose


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The file as it stands."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def _lasting(services: dict[str, Any]) -> dict[str, Any]:
    """Services that run on, so that `docker compose ps` shows their health."""
    return {name: service for name, service in services.items() if "restart" in service}


def _make_secrets(folder: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PHIN_CONNECTWISE": PROGRAM}
    subprocess.run([ROOT / "deploy" / "make-secrets.sh"], cwd=folder, env=environment, check=True, capture_output=True)


def test_nothing_is_written_but_to_volumes(document: dict[str, Any]) -> None:
    """A break-in leaves nothing behind in a container, and ours have no capabilities."""
    for service in document["services"].values():
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
        if service["image"] == "phin-connectwise":
            assert service["cap_drop"] == ["ALL"]


def test_no_secret_is_in_the_environment_of_production(document: dict[str, Any]) -> None:
    """Whoever may look at a container, its logs or `.env` learns no password and no key."""
    production = [each for each in document["services"].values() if each["profiles"] != ["demo"]]
    names = [name for service in production for name in service.get("environment", ())]
    assert names
    assert not [name for name in names if re.search(r"PASSWORD$|PASS$|URL$|KEYS$", name)]


def test_every_secret_is_made_and_asked_for(document: dict[str, Any], tmp_path: Path) -> None:
    """The script makes all files that Compose mounts, each readable in containers behind a folder that is closed."""
    _make_secrets(tmp_path)
    made = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert {f"secrets/{name}" for name in made} == {secret["file"] for secret in document["secrets"].values()}
    assert set(document["services"]["settings"]["secrets"]) == set(document["secrets"])
    assert all(path.stat().st_mode & 0o777 == 0o644 and path.read_text() for path in made.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    for user in ("worker", "operator", "setup"):
        parts = urlsplit(made[f"{user}-broker-url"].read_text())
        assert (parts.username, parts.password) == (user, made[f"{user}-password"].read_text())


def test_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    """Running the script again, say after an upgrade, locks nobody out."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "worker-broker-url").write_text("amqps://worker:mine@rabbitmq.example/")
    contents = []
    for _ in range(2):
        _make_secrets(tmp_path)
        contents.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["worker-broker-url"] == "amqps://worker:mine@rabbitmq.example/"


def test_missing_settings_are_asked_for(document: dict[str, Any]) -> None:
    """An installation refuses to start without the settings that env.example leaves to fill in."""
    empty = set(re.findall(r"^(\w+)=$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    services = document["services"]
    assert set(re.findall(r"\bPHIN_[A-Z_]+\b", services["settings"]["command"][0])) == empty
    assert "settings" in services["postgres"]["depends_on"]
    assert "settings" in services["definitions"]["depends_on"]
    assert "definitions" in services["rabbitmq"]["depends_on"]


def test_every_user_of_rabbitmq_has_a_password(document: dict[str, Any]) -> None:
    """RabbitMQ starts with all users that the worker's topology asks for."""
    targets = [Path(secret["target"]) for secret in document["services"]["definitions"]["secrets"]]
    assert sorted(target.name for target in targets) == sorted(user.name for user in users(Topology()))
    assert f"--passwords {targets[0].parent}" in document["services"]["definitions"]["command"][0]


def test_what_runs_on_shows_its_health(document: dict[str, Any]) -> None:
    """`docker compose ps` tells who is ill; the worker's check is the image's."""
    lasting = _lasting(document["services"])
    assert {"rabbitmq", "postgres", "worker"} <= set(lasting)
    for service in lasting.values():
        assert "healthcheck" in service or service["image"] == "phin-connectwise"
    assert "\nHEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_workers_can_be_several(document: dict[str, Any]) -> None:
    """`docker compose up --scale worker=3` starts three."""
    assert not {"container_name", "ports", "hostname"} & set(document["services"]["worker"])
