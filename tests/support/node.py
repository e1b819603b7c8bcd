"""Programs in Node, with their packages from a lock file. Without Node their tests are skipped, in CI they fail."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.waiting import within

MISSING = "Node's programs node and npm are missing: apt-get install nodejs npm, or see https://nodejs.org"
NO_PACKAGES = "npm could not get the packages of a test: it needs the network, or a cache that has them"


def installed(program: Path, folder: Path) -> Path:
    """Copy a folder of programs to a new one, and get the packages of its lock file. Returns the new folder."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _skip(MISSING)
    shutil.copytree(program, folder, ignore=shutil.ignore_patterns("node_modules"))
    get = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefer-offline"]
    if subprocess.run(get, cwd=folder, timeout=within(300), check=False).returncode != 0:
        _skip(NO_PACKAGES)
    return folder


def run(folder: Path, program: str, *arguments: str, given: Mapping[str, str] | None = None) -> list[Any]:
    """Run a program of the folder with these variables; the JSON documents that it prints, one a line."""
    done = subprocess.run(
        ["node", program, *arguments],
        cwd=folder,
        env=os.environ | (given or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=within(120),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _skip(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
