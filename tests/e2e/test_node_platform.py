"""A platform that is written in Node has the schemas and the docs, and nothing of ours."""

import base64
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from messages import KINDS, KeyRing
from messages.schemas import FOLDER
from messages.sealing import unseal_bytes
from tests.support import node
from tests.support.world import PRIVATE_KEY, World
from worker import app

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "node"
EXAMPLES = ROOT / "docs" / "examples" / "json"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, its packages, and the modules that the docs have."""
    folder = node.installed(PROGRAM, tmp_path_factory.mktemp("node") / "platform")
    for module in (EXAMPLES.parent / "node").glob("*.mjs"):
        shutil.copy(module, folder)
    return folder


@pytest.mark.parametrize("scheme", ["https://", ""], ids=["URL", "bare host"])
def test_a_node_program_connects_maps_and_pushes(
    platform: Path, amqp_url: str, postgresql_url: str, tmp_path: Path, scheme: str
) -> None:
    """With UUIDs of version 4 and its own correlation ids it is understood, and answered also where it was wrong.

    Ajv takes all schemas in its strict mode, and all examples of the docs.
    """
    with World(amqp_url, postgresql_url, tmp_path, companies=1) as world:
        worker = app.build(world.settings)
        assert world.simulator.ca_file is not None
        given = {
            "BROKER_URL": amqp_url,
            "PREFIX": world.settings.queue_prefix,
            "SCHEMAS": str(FOLDER),
            "EXAMPLES": str(EXAMPLES),
            "SEAL_KEY": str(KeyRing.parse(world.keys.private).seal_key),
            "SITE_URL": scheme + world.simulator.url.removeprefix("https://"),
            "CA_FILE": str(world.simulator.ca_file),
            "COMPANY": "cw-p1",
            "PRIVATE_KEY": PRIVATE_KEY,
        }
        with closing(worker.database), worker:
            said: list[dict[str, Any]] = node.run(platform, "platform.mjs", given=given)
        assert world.quantity("p1", 100_001) == 5
    contract, *said = said
    assert set(contract["compiled"]) == KINDS.keys()
    assert contract["examples"] == {path.name: True for path in EXAMPLES.glob("*.json")}
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


def test_node_opens_and_makes_what_the_sealing_vectors_say(platform: Path) -> None:
    """A box of the vectors opens in Node; `seal` of the docs makes the content that they have, and refuses the rest."""
    path = EXAMPLES.parent / "sealing-vectors.json"
    vectors = json.loads(path.read_bytes())
    opening, making = vectors["opening"], vectors["making"]
    printed = node.run(platform, "vectors.mjs", str(path))
    opened, made = printed[: len(opening)], printed[len(opening) :]
    assert opened == [one["content"] for one in opening]
    ring = KeyRing.parse(vectors["seal_key"]["private"])
    for vector, sealed in zip(making, made, strict=True):
        if vector["content"] is None:
            assert "or na.myconnectwise.net" in sealed["error"]
            continue
        box = unseal_bytes(base64.b64decode(sealed["box"]), sealed["key_id"], ring)
        assert json.loads(box) == vector["content"]
