"""The real command `phin-connectwise`, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from worker.settings import PREFIX


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with exactly these settings, and a terminal of 80 columns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"COLUMNS": "80"} | {f"{PREFIX}{name}": value for name, value in settings.items()}


def run(
    *arguments: str | Path, folder: Path, settings: Mapping[str, str] | None = None, typed: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a folder, with `typed` on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *map(str, arguments)],
        cwd=folder,
        env=environment(settings or {}),
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
