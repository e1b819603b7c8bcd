"""The sample by one command, from a fresh clone."""

import subprocess
from pathlib import Path

from tests.containers.clone import STARTS_WITHIN, fresh_clone
from tests.support.waiting import wait_for

LAST_WORDS = "ConnectWise saw 11 PATCH requests"


def test_the_demo_runs_from_a_fresh_clone(tmp_path: Path) -> None:
    """Whoever has nothing but Docker sees the sample pushed into ConnectWise."""
    said = tmp_path / "said"
    with fresh_clone(tmp_path / "clone", "demo") as clone, said.open("wb") as output:
        up = clone.command("up", "--build", "--no-color")
        with subprocess.Popen(up, cwd=clone.folder, stdout=output, stderr=output) as running:
            try:
                wait_for(
                    lambda: LAST_WORDS in said.read_text("utf-8") or running.poll() is not None,
                    "the demo's end", timeout=STARTS_WITHIN,
                )  # fmt: skip
            finally:
                running.terminate()
        assert LAST_WORDS in said.read_text("utf-8"), said.read_text("utf-8")[-4000:]
        assert "12 updated" in said.read_text("utf-8")
