"""The CPU of a call to ConnectWise in this process, by the clock of its thread: `make bench`.

The server is the simulator, over TLS and in a process of its own.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

import pytest
import requests

from cwclient import API_VERSION, AddressPolicy
from cwclient.transport import Transport
from messages import KeyRing, generate_keypair, seal
from store.connections import ConnectionVersion
from tests.benchmarks.as_it_is import show
from worker import tracing
from worker.connectwise.api_version import ApiVersions, Discovery
from worker.connectwise.rate_limit import RequestBudget
from worker.connectwise.session import ConnectWiseSession
from worker.tracing import Published

pytestmark = pytest.mark.benchmark

STATE = Path(__file__).parents[2] / "worker" / "cli" / "sample" / "connectwise.json"
PARTNER, COMPANY, PUBLIC_KEY, PRIVATE_KEY = "msp-1", "harbourit", "Demo4PublicKey", "Demo4PrivateKey"
ADDITION = 401, 7101
ROUNDS, CALLS = 30, 20
MOST, MOST_OFF = 1.2, 0.01


@pytest.fixture
def server() -> Iterator[dict[str, Any]]:
    """Serve the sample; yield what the simulator says when it is ready: `url` and `ca_file`."""
    command = [sys.executable, "-m", "cwclient.simulator", "--state", str(STATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_a_call_costs_no_more_than_a_plain_one(server: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A call within deadline, address policy and strict framing costs about what `requests` takes without them."""
    ca_file, cw = server["ca_file"], _session(server)
    transport = Transport(AddressPolicy(["127.0.0.1"]), ca_bundle=Path(ca_file).read_text())
    quantity = cw.addition(*ADDITION).quantity or 1.0
    client = cw.client()
    url = f"{client.base_url}/finance/agreements/{ADDITION[0]}/additions/{ADDITION[1]}"
    headers = client._headers
    patch: list[Any] = [{"op": "replace", "path": "quantity", "value": int(quantity)}]
    with requests.Session() as bare:
        bare.trust_env, bare.verify = False, ca_file
        calls: dict[str, Callable[[], object]] = {
            "GET, requests alone": lambda: bare.get(url, headers=headers).content,
            "GET, transport": lambda: transport.request("GET", url, headers=headers),
            "GET, session": lambda: cw.addition(*ADDITION),
            "PATCH, requests alone": lambda: bare.patch(url, headers=headers, json=patch).content,
            "PATCH, transport": lambda: transport.request("PATCH", url, headers=headers, json=patch),
            "PATCH, session": lambda: cw.set_quantity(*ADDITION, quantity),
        }
        milliseconds = _alternating(calls)
    transport.close()
    for method in ("GET", "PATCH"):
        alone, ours = milliseconds[f"{method}, requests alone"], milliseconds[f"{method}, transport"]
        show(
            capsys,
            f"a call's CPU: {method} {ours:.2f} ms in the transport, {milliseconds[f'{method}, session']:.2f} in a"
            f" session, {alone:.2f} with requests alone: {ours / alone:.2f} times",
        )
        assert ours <= MOST * alone


def test_traces_that_are_off_cost_nothing(server: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The calls of a pushed line into `worker.tracing` while that is off cost at most 1 % of its two requests alone."""
    cw = _session(server)
    tracing.use(None)
    published = [Published("message", "sync.result.v1", None, "")]

    def line() -> None:
        with tracing.spans().process("queue", [None], "message"):
            tracing.spans().serve("p1", {None})
        for method in ("GET", "PATCH"):
            tracing.spans().request(method, "https://example/", 200, "", 0.1)
        tracing.spans().publish("exchange", published, 0.1)
        for _ in range(3):  # log lines
            tracing.spans().ids()

    calls: dict[str, Callable[[], object]] = {"GET": lambda: cw.addition(*ADDITION), "off": line}
    milliseconds = _alternating(calls)
    share = milliseconds["off"] / (2 * milliseconds["GET"])
    show(capsys, f"traces that are off: {1000 * milliseconds['off']:.1f} us a line, {share:.2%} of two requests")
    assert share <= MOST_OFF


def _alternating(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of CPU per call, each the median of the rounds; the first round warms up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS + 1):
        for name, call in calls.items():
            started = thread_time()
            for _ in range(CALLS):
                call()
            spent[name].append(1000 * (thread_time() - started) / CALLS)
    return {name: median(rounds[1:]) for name, rounds in spent.items()}


def _session(server: dict[str, Any]) -> ConnectWiseSession:
    ring, ca_bundle = KeyRing.parse(generate_keypair().private), Path(server["ca_file"]).read_text()
    sealed = seal(
        PRIVATE_KEY,
        public_key=PUBLIC_KEY,
        partner_id=PARTNER,
        company_identifier=COMPANY,
        site_url=server["url"],
        seal_key=ring.seal_key,
    )
    connection = ConnectionVersion(
        partner_id=PARTNER,
        changed_at=datetime.now(UTC),
        message_id="1",
        tenant=f"{server['url']}/{COMPANY}",
        site_url=server["url"],
        company_identifier=COMPANY,
        public_key=PUBLIC_KEY,
        key_id=sealed.key_id,
        box=sealed.box,
        ca_bundle=ca_bundle,
    )
    transport = Transport(AddressPolicy(["127.0.0.1"]), ca_bundle=ca_bundle)
    return ConnectWiseSession(
        connection=connection,
        client_id="00000000-0000-0000-0000-000000000001",
        open_transport=lambda: transport,
        key_ring=ring,
        clock=lambda: datetime.now(UTC),
        discovery=Discovery(None, None),
        budget=RequestBudget(None, 0),
        versions=ApiVersions(API_VERSION, None),
    )
