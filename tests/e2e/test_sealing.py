"""A private key that does not open: the coordinator reads why, the operator's log names the seal key."""

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from messages import ConnectionChanged, KeyRing, generate_keypair, seal
from tests.support.case import Case, code
from tests.support.commands import environment
from tests.support.waiting import wait_for
from tests.support.world import PRIVATE_KEY


def _saved(case: Case, *, partner: str, seal_key: str) -> ConnectionChanged:
    """A connection of p1 with a box made for this partner and this seal key."""
    event = case.world.connected("p1")
    box = seal(
        PRIVATE_KEY,
        public_key="public",
        partner_id=partner,
        company_identifier="cw-p1",
        site_url=case.world.simulator.url,
        seal_key=KeyRing.parse(seal_key).seal_key,
    )
    return event.model_copy(update={"sealed_private_key": box})


@pytest.mark.parametrize(
    ("partner", "is_ours", "expected"), [("p1", False, "seal_key_unknown"), ("p2", True, "key_mismatch")]
)
def test_a_key_that_does_not_open_is_explained(case: Case, partner: str, expected: str, *, is_ours: bool) -> None:
    """A box of an unknown seal key, and one copied from another partner, are refused each for its own reason."""
    seal_key = case.world.keys.private if is_ours else generate_keypair().private
    key_id = seal_key.partition(":")[0]
    with capture_logs() as logs:
        event = _saved(case, partner=partner, seal_key=seal_key)
        case.world.publish(event)
        wait_for(lambda: (case.check() or {}).get("changed_at", "") == _zulu(event), "the check")
        check = case.check() or {}
        assert (check["status"], check["problem"]["code"]) == ("failed", expected)
        assert code(case.push()["c1"]) == expected
    told = [entry for entry in logs if entry["event"] == "key.unreadable"]
    assert {(entry["partner"], entry["key_id"]) for entry in told} == {("p1", key_id)}
    assert PRIVATE_KEY not in str(logs)
    assert case.dead() == {"credentials": 1}


EMBEDDED = """
import structlog
from worker import app
from worker.settings import load

app.build(load())
private_key = "".join(["pri", "vate", "-text"])
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


def test_an_embedded_worker_logs_no_variables(tmp_path: Path) -> None:
    """A program that embeds the worker and configures no logs gets tracebacks without what the variables hold."""
    client_id, keys = "00000000-0000-0000-0000-000000000001", generate_keypair().private
    settings = {"CLIENT_ID": client_id, "SEAL_KEYS": keys, "DATABASE_URL": f"sqlite:///{tmp_path}/db"}
    command = [sys.executable, "-c", EMBEDDED]
    done = subprocess.run(command, env=environment(settings), capture_output=True, encoding="utf-8", check=True)
    assert "ZeroDivisionError" in done.stderr
    assert "private-text" not in done.stdout + done.stderr


def _zulu(event: ConnectionChanged) -> str:
    return str(event.model_dump(mode="json")["changed_at"])
