"""A fresh clone of this repository, with Docker Compose in it as a project of its own."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.docs import ROOT

MINUTES = 60.0
STARTS_WITHIN = 15 * MINUTES


class Failed(Exception):
    """A command of Docker's did not end well; the text is what it said."""


def docker(*arguments: str, within: float = 2 * MINUTES) -> str:
    """Run a command of Docker's. Returns what it printed; raises Failed."""
    return _run(["docker", *arguments], None, within)


@dataclass
class Clone:
    """A profile of the clone's compose files."""

    folder: Path
    profile: str
    files: Sequence[str]
    project: str = field(default_factory=lambda: f"phin-test-{uuid4().hex[:8]}")

    def compose(self, *arguments: str, within: float = 2 * MINUTES) -> str:
        """Run `docker compose …` in the clone. Returns what it printed; raises Failed."""
        return _run(self.command(*arguments), self.folder, within)

    def command(self, *arguments: str) -> list[str]:
        """The words of `docker compose …` for this project."""
        files = [word for name in self.files for word in ("--file", name)]
        return ["docker", "compose", "--project-name", self.project, *files, "--profile", self.profile, *arguments]

    def services(self) -> list[dict[str, Any]]:
        """The containers that `docker compose ps` shows, those that have ended too."""
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return the words of `docker inspect` on each running container of a service, oldest first."""
        ids = self.compose("ps", "--quiet", service).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return sorted(found, key=lambda one: str(one["Created"]))


@contextmanager
def fresh_clone(folder: Path, profile: str, *more: str) -> Iterator[Clone]:
    """Clone what is committed, with `more` compose files; everything of the project is removed at the end."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    clone = Clone(folder, profile, ("docker-compose.yml", *more))
    try:
        yield clone
    finally:
        clone.compose("down", "--volumes", "--remove-orphans", within=5 * MINUTES)


def _run(command: Sequence[str], folder: Path | None, within: float) -> str:
    # Compose reads COMPOSE_… of whoever runs the tests, too.
    given = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "PHIN_"))}
    done = subprocess.run(
        command, cwd=folder, env=given, capture_output=True, encoding="utf-8", timeout=within, check=False
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
