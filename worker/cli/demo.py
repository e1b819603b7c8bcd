"""`demo`: all steps on a sample of 25 companies and a simulated ConnectWise, by the code of the real commands."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from cwclient import AddressPolicy
from cwclient.transport import Transport
from messages import BillingPeriod, generate_keypair
from store import mappings, migrate, portal
from worker.bootstrap import open_database
from worker.checks.connection_check import last_check
from worker.cli import connection, mapping, push, sample
from worker.cli.display import connection_table, mapping_table, results_table
from worker.cli.display.output import complain, say
from worker.cli.exits import UNFINISHED
from worker.cli.options import CaFile, ca_bundle
from worker.cli.session import Session, session
from worker.cli.web import serve_locally
from worker.coordination import connecting, pushing, results
from worker.coordination.results import ResultRow
from worker.settings import Settings, load
from worker.spreadsheet import read_counts, read_mappings

PARTNER = "demo"
FOLDER = Path(".demo")
CLIENT_ID = "00000000-0000-0000-0000-000000000000"
SECONDS = 120.0

_PATCHED = re.compile(r"/finance/agreements/(\d+)/additions/(\d+)$")

HOW_TO = """
The same with your own data, against a real ConnectWise and RabbitMQ. Settings, in the environment or in .env:

  PHIN_CONNECTWISE_BROKER_URL=amqps://user:password@host/vhost
  PHIN_CONNECTWISE_DATABASE_URL=postgresql://user:password@host/database
  PHIN_CONNECTWISE_CLIENT_ID=the clientId that ConnectWise gave you as the vendor
  PHIN_CONNECTWISE_SEAL_KEYS=the private line of `phin-connectwise keys generate`

Once, then a worker that keeps running:

  phin-connectwise db upgrade
  phin-connectwise topology declare
  phin-connectwise worker

And in another terminal:

  phin-connectwise connection set --partner msp-1 --site https://na.myconnectwise.net \\
    --company-identifier acme --public-key KEY
  phin-connectwise mapping import --partner msp-1 mappings.csv
  phin-connectwise push --partner msp-1 --period 2026-11 --counts counts.csv --preview
  phin-connectwise push --partner msp-1 --period 2026-11 --counts counts.csv

Without the first two settings it works alike, in a file beside you and without RabbitMQ. CSV files to start from:
"""


@dataclass(frozen=True)
class DemoSimulator:
    """A running simulator of ConnectWise, with its certificate authority (PEM)."""

    url: str
    ca_bundle: str

    def call(self, method: str, path: str, document: object = None) -> Any:  # noqa: ANN401 - JSON
        """Use a control route of the simulator. Raises ConnectWiseError."""
        host = urlsplit(self.url).hostname or ""
        transport = Transport(AddressPolicy([host]), ca_bundle=self.ca_bundle)
        try:
            return transport.request(method, f"{self.url}/_simulator/{path}", headers={}, json=document).json()
        finally:
            transport.close()

    def patched(self, since: int) -> Counter[tuple[int, int]]:
        """The number of writes to each (agreement, addition) after the first `since` requests."""
        paths = [record["path"] for record in self.call("GET", f"log?since={since}") if record["method"] == "PATCH"]
        matches = [_PATCHED.search(path) for path in paths]
        return Counter((int(match[1]), int(match[2])) for match in matches if match)

    @property
    def requests(self) -> int:
        """The number of requests received so far."""
        return len(self.call("GET", "log"))


def demo(
    simulator_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A simulator that runs already; else one is started.")
    ] = None,
    ca_file: CaFile = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the pushes, in a terminal too.")] = False,
) -> None:
    """Push a sample of 25 companies into a simulated ConnectWise: no server, no settings, nothing leaves this machine.

    In a terminal it then serves the portal and the operators' console, with all of this in them, until Ctrl-C.

    Everything is made anew in the folder .demo. If PHIN_CONNECTWISE_DATABASE_URL or PHIN_CONNECTWISE_BROKER_URL is set,
    that database or RabbitMQ is used instead; with RabbitMQ a worker must run.
    """
    if (simulator_url is None) != (ca_file is None):
        raise typer.BadParameter("--simulator-url and --ca-file belong together")
    authority = ca_bundle(ca_file)
    say("1. A simulated ConnectWise, with companies, agreements and additions of 25 small firms")
    with _started() if not (simulator_url and authority) else _given(simulator_url, authority) as simulator:
        say(f"   {simulator.url}")
        overrides = _overrides(simulator)
        say()
        say("2. Tables")
        _upgrade(overrides)
        with session(overrides) as opened:
            succeeded = _show(opened, simulator)
        if not succeeded:
            raise typer.Exit(UNFINISHED)
        for line in HOW_TO.splitlines():
            say(line)
        for file in (sample.MAPPINGS, sample.COUNTS):
            say(f"  {file}")
        if not once and sys.stdin.isatty() and sys.stdout.isatty():
            _serve_pages(load(overrides))


def _serve_pages(settings: Settings) -> None:
    """Serve the pages, and work, until Ctrl-C."""

    def tell(address: str) -> None:
        say()
        say("All of this in a browser, until you press Ctrl-C:")
        say(f"  {address}/portal/companies?partner={PARTNER}  the portal of coordinators")
        say(f"  {address}/console/now  the operators' console")

    serve_locally(settings, tell)


def _show(opened: Session, simulator: DemoSimulator) -> bool:
    """Connect, map, push twice. Returns True if ConnectWise received exactly the expected writes."""
    site = (
        f"--site {simulator.url} --company-identifier harbourit --public-key Demo4PublicKey --ca-file ca.pem < key.txt"
    )
    _say_command(3, "Connect", f"connection set --partner {PARTNER} {site}")
    if not _connect(opened, simulator):
        return False
    _say_command(4, "Map companies to additions", f"mapping import --partner {PARTNER} mappings.csv")
    events = read_mappings(sample.MAPPINGS, PARTNER, opened.now())
    say(mapping_table.summary(mapping.save(opened, PARTNER, events, timeout=SECONDS, wait=True)))
    period = BillingPeriod.parse(f"{datetime.now(UTC):%Y-%m}")
    command = f"push --partner {PARTNER} --period {period} --counts counts.csv"
    _say_command(5, "Push the billable users", command)
    before = simulator.requests
    first = _push(opened, period)
    results_table.show(first)
    between = simulator.requests
    _say_command(6, "The same again: nothing is written that is already there", command)
    second = _push(opened, period)
    results_table.show(second)
    return _compare(opened, first, simulator.patched(before) - simulator.patched(between), simulator.patched(between))


def _connect(opened: Session, simulator: DemoSimulator) -> bool:
    event = connecting.connected(
        opened.settings,
        opened.now(),
        PARTNER,
        site=simulator.url,
        company_identifier="harbourit",
        public_key="Demo4PublicKey",
        private_key="Demo4PrivateKey",
        ca_bundle=simulator.ca_bundle,
    )
    version = connection.save(opened, event, timeout=SECONDS, wait=True)
    checked = last_check(version) if version else None
    if checked is None:
        complain("The connection was not checked in time.")
        return False
    connection_table.show(checked)
    return checked.status == "ok"


def _push(opened: Session, period: BillingPeriod) -> list[ResultRow]:
    lines = read_counts(sample.COUNTS)
    with opened.database.begin() as tx:
        portal.replace_counts(tx, PARTNER, period.key, lines, "demo")
    event = pushing.requested(opened.database, PARTNER, period, lines, mode="apply", requested_by="demo")
    push.carry_out(opened, event, timeout=SECONDS)
    with opened.database.begin() as tx:
        return results.of_push(tx, PARTNER, event.push_id)


def _compare(
    opened: Session, first: Sequence[ResultRow], written: Counter[tuple[int, int]], again: Counter[tuple[int, int]]
) -> bool:
    """Say how often ConnectWise was written to, and whether that is once per changed addition and never again."""
    updated = {row.company_id for row in first if row.status == "updated"}
    with opened.database.begin() as tx:
        changed = {one.addition for one in mappings.of_companies(tx, PARTNER, updated).values() if one.addition}
    say()
    if changed and written == Counter(changed) and not again:
        say(
            f"✓ ConnectWise saw {written.total()} PATCH requests in the first push, one per changed addition, "
            f"and {again.total()} in the second."
        )
        return True
    complain(
        f"✗ ConnectWise saw {written.total()} PATCH requests in the first push, where {len(changed)} additions "
        f"changed, and {again.total()} in the second, where none should be."
    )
    return False


def _overrides(simulator: DemoSimulator) -> dict[str, Any]:
    """Settings of the demo, for what is not set already."""
    settings = load()
    given = settings.model_fields_set
    overrides: dict[str, Any] = {
        "allow_private_hosts": (*settings.allow_private_hosts, urlsplit(simulator.url).hostname or "")
    }
    if "database_url" not in given:
        for old in FOLDER.glob("demo.db*"):
            old.unlink()
        FOLDER.mkdir(exist_ok=True)
        overrides["database_url"] = f"sqlite:///{FOLDER}/demo.db"
    if settings.is_embedded:
        overrides |= {"client_id": settings.client_id or CLIENT_ID}
        overrides |= {} if settings.seal_keys else {"seal_keys": generate_keypair().private}
    return overrides


def _upgrade(overrides: dict[str, Any]) -> None:
    settings = load(overrides)
    database = open_database(settings)
    try:
        migrate.upgrade(database)
    finally:
        database.close()
    tables = overrides.get("database_url", "the database of PHIN_CONNECTWISE_DATABASE_URL")
    say(f"   {tables}; {'no broker' if settings.is_embedded else 'RabbitMQ of PHIN_CONNECTWISE_BROKER_URL'}")


@contextmanager
def _started() -> Iterator[DemoSimulator]:
    """Start a simulator in a process of its own, for as long as the demo runs."""
    FOLDER.mkdir(exist_ok=True)
    log = FOLDER / "connectwise.jsonl"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "cwclient.simulator", "--state", str(sample.SIMULATOR_STATE), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise OSError("the simulator did not start")
            ready = json.loads(line)
            yield DemoSimulator(ready["url"], Path(ready["ca_file"]).read_text(encoding="utf-8"))
        finally:
            process.terminate()


@contextmanager
def _given(url: str, authority: str) -> Iterator[DemoSimulator]:
    """Use a simulator that runs already, and set its records back to the sample's."""
    simulator = DemoSimulator(url.rstrip("/"), authority)
    simulator.call("PATCH", "state", json.loads(sample.SIMULATOR_STATE.read_text(encoding="utf-8")))
    yield simulator


def _say_command(number: int, what: str, command: str) -> None:
    say()
    say(f"{number}. {what}")
    say(f"   phin-connectwise {command}")
