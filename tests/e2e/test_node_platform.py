"""A platform that is written in Node has the schemas and the docs, and nothing of ours."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cwclient import InvalidSite, parse_site
from messages import KINDS, KeyRing, SealedPrivateKey, generate_keypair, unseal
from messages.schemas import FOLDER
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


ACCEPTED = (
    "https://na.myconnectwise.net",
    "na.myconnectwise.net",
    " NA.MyConnectWise.net/ ",
    "\u200bna.myconnectwise.net\ufeff",
    "https://na.myconnectwise.net:443/v2025_1/ConnectWise.aspx",
    "https://api-na.myconnectwise.net/v4_6_release/apis/3.0/",
    "HTTPS://CW.Example/login?to=https://me@cw.example",
    "cw.example:8443",
    "cw_1.example.",
    "https://B\u00dcCHER.example",
    "https://[::1]:8443/",
)
REFUSED = ("", "https://", "https://me:secret@cw.example", "cw .example", "cw.example\\@other.example", "https://[::1")


def test_what_node_has_sealed_is_opened_for_each_form_of_a_site(platform: Path) -> None:
    """`seal` of the docs takes what the worker takes for the ConnectWise URL; the rest it refuses with an example."""
    keys = generate_keypair()
    given = {"SITE_URLS": json.dumps([*ACCEPTED, *REFUSED]), "SEAL_KEY": keys.public, "PRIVATE_KEY": PRIVATE_KEY}
    made = dict(zip([*ACCEPTED, *REFUSED], node.run(platform, "seal_each.mjs", given=given), strict=True))
    owner = {"partner_id": "p1", "company_identifier": "acme", "public_key": "public"}
    for site in ACCEPTED:
        assert parse_site(site)
        sealed = SealedPrivateKey(**made[site]["sealed"])
        assert unseal(sealed, KeyRing.parse(keys.private), **owner, site_url=site) == PRIVATE_KEY
    for site in REFUSED:
        with pytest.raises(InvalidSite):
            parse_site(site)
        assert "or na.myconnectwise.net" in made[site]["error"]
