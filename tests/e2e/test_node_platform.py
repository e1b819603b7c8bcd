"""A platform that is written in Node has the schemas and the README, and nothing of ours."""

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from messages import KINDS, KeyRing
from messages.schemas import FOLDER
from tests.support.world import PRIVATE_KEY, World
from worker import app

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "node"
MISSING = "Node's programs node and npm are missing: apt-get install nodejs npm, or see https://nodejs.org"


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A folder with the program, its packages, and `seal` as the README has it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = tmp_path / "platform"
    shutil.copytree(PROGRAM, folder, ignore=shutil.ignore_patterns("node_modules"))
    (example,) = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (folder / "seal.mjs").write_text(example, "utf-8")
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
    return folder


def test_a_node_program_connects_maps_and_pushes(
    platform: Path, amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """With UUIDs of version 4 and its own correlation ids it is understood, and answered also where it was wrong.

    Ajv takes all schemas in its strict mode.
    """
    with World(amqp_url, postgresql_url, tmp_path, companies=1) as world:
        worker = app.build(world.settings)
        assert world.simulator.ca_file is not None
        given = {
            "BROKER_URL": amqp_url,
            "PREFIX": world.settings.queue_prefix,
            "SCHEMAS": str(FOLDER),
            "SEAL_KEY": str(KeyRing.parse(world.keys.private).seal_key),
            "SITE_URL": world.simulator.url,
            "CA_FILE": str(world.simulator.ca_file),
            "COMPANY": "cw-p1",
            "PRIVATE_KEY": PRIVATE_KEY,
        }
        with closing(worker.database), worker:
            done = subprocess.run(
                ["node", "platform.mjs"],
                cwd=platform,
                env=os.environ | given,
                capture_output=True,
                encoding="utf-8",
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        said: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        assert world.quantity("p1", 100_001) == 5
    compiled, *said = said
    assert set(compiled["compiled"]) == KINDS.keys()
    asked = {line["correlation_id"]: line for line in said if "asked" in line}
    answers = [line for line in said if "asked" not in line]
    assert [line["obeys"] for line in asked.values()] == [False, True, True, True]
    assert all(line["obeys"] and line["property"] == line["correlation_id"] for line in answers)
    assert {line["correlation_id"] for line in answers} == asked.keys()
    # The connection is answered once more when the push has proven the right to edit.
    assert list(dict.fromkeys((line["type"], line["status"], line["problem"]) for line in answers)) == [
        ("connection.checked.v1", "failed", "contract"),
        ("connection.checked.v1", "ok", None),
        ("mapping.checked.v1", "complete", None),
        ("sync.result.v1", "updated", None),
        ("push.completed.v1", "completed", None),
    ]
