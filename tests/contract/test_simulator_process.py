"""The simulator as a process of its own, with its own certificate authority."""

import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cwclient.simulator.certificates import ensure_certificates
from tests.support.own_servers.places import free_port
from tests.support.waiting import within

STATE = {
    "tenants": [
        {
            "company_identifier": "acmemsp",
            "keys": [{"public": "pub", "private": "priv"}],
            "companies": [{"id": 1}],
            "agreements": [{"id": 7, "company": {"id": 1}}],
            "additions": [{"id": 11, "agreementId": 7, "quantity": 4}],
        }
    ]
}
ADDITION = "/v2025_1/apis/3.0/finance/agreements/7/additions/11"


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    """Write the state above to a file."""
    path = tmp_path / "state.json"
    path.write_text(json.dumps(STATE), "utf-8")
    return path


def command(*arguments: str | Path) -> list[str]:
    """Name the command line."""
    return [sys.executable, "-m", "cwclient.simulator", *map(str, arguments)]


@contextmanager
def started(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start the simulator and wait for its line; end it whatever happens."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_it_serves_https_until_sigterm(state_file: Path, tmp_path: Path) -> None:
    """It says where it is and whom to trust, logs to its file as it goes, and SIGTERM ends it with 0 at once."""
    log = tmp_path / "requests.jsonl"
    with started("--state", state_file, "--log", log) as (process, ready):
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        with httpx.Client(base_url=ready["url"], verify=trust, trust_env=False, auth=("acmemsp+pub", "priv")) as http:
            body = [{"op": "replace", "path": "quantity", "value": 5}]
            assert http.patch(ADDITION, json=body, headers={"clientId": "id"}).json()["quantity"] == 5
            [line] = log.read_text("utf-8").splitlines()
            assert (json.loads(line)["quantity_before"], json.loads(line)["quantity_after"]) == (4, 5)
            assert Path(ready["log"]) == log.resolve()
            http.put("/_simulator/faults", json=[{"kind": "hang"}])
            with pytest.raises(httpx.ReadTimeout):
                http.get(ADDITION, timeout=httpx.Timeout(within(10), read=0.1))
            process.send_signal(signal.SIGTERM)
            assert process.wait(within(10)) == 0


def test_it_serves_plain_http_on_a_given_port(state_file: Path) -> None:
    """With --plain there is no certificate, and --port is where it listens."""
    port = free_port()
    with started("--state", state_file, "--plain", "--port", str(port)) as (_, ready):
        assert ready == {"url": f"http://127.0.0.1:{port}", "ca_file": None, "log": None}
        assert httpx.get(f"{ready['url']}/login/companyinfo/acmemsp", trust_env=False).status_code == 200


def test_a_bad_state_file_is_explained(tmp_path: Path) -> None:
    """A state document with a typo, or none at all, ends the command with 2 and says where."""
    path = tmp_path / "state.json"
    path.write_text('{"tenants": [{"company_identifier": "a", "companies": [{"id": 1, "nmae": "x"}]}]}', "utf-8")
    bad = subprocess.run(command("--state", path), capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "tenants.0.companies.0" in bad.stderr
    assert "no field 'nmae'" in bad.stderr
    missing = subprocess.run(command("--state", tmp_path / "none"), capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "none" in missing.stderr


def test_help_documents_the_state() -> None:
    """The help shows an example of the state document and the control routes."""
    shown = subprocess.run(command("--help"), capture_output=True, text=True, check=True).stdout
    assert "company_identifier" in shown
    assert "/_simulator/faults" in shown


def test_certificates_are_kept_while_they_are_good(tmp_path: Path) -> None:
    """The same folder gives the same authority, until a host name is asked for that is not in the certificate."""
    first = ensure_certificates(tmp_path)
    authority = first.ca.read_bytes()
    assert ensure_certificates(tmp_path, ["localhost"]).ca.read_bytes() == authority
    assert ensure_certificates(tmp_path, ["connectwise.test", "10.0.0.9"]).ca.read_bytes() != authority
    assert first.key.stat().st_mode & 0o077 == 0


def test_clients_must_trust_the_authority(state_file: Path, tmp_path: Path) -> None:
    """A client that does not know the authority refuses the server, one that does accepts each of its names."""
    arguments = ("--state", state_file, "--tls-dir", tmp_path / "tls", "--host-name", "connectwise.test")
    with started(*arguments) as (_, ready):
        port = int(ready["url"].rpartition(":")[2])
        assert Path(ready["ca_file"]).parent == (tmp_path / "tls").resolve()
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(ready["url"], trust_env=False)
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        for name in ("localhost", "127.0.0.1", "connectwise.test"):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                trust.wrap_socket(plain, server_hostname=name) as secured,
            ):
                assert secured.version() == "TLSv1.3"
