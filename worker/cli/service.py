"""What runs or prepares an installation: `worker`, `simulator`, `db`, `topology`, `keys`."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import typer

from cwclient.simulator import Options
from cwclient.simulator import run as run_simulator
from messages import generate_keypair
from store import Database, SchemaOutdated, StoreError, migrate
from worker import logs
from worker.app import DRAIN_SECONDS, build, open_broker, open_database
from worker.cli.exits import BROKER, DATABASE, DRAIN_TIMED_OUT
from worker.cli.options import AsJson, usage
from worker.cli.output import complain, dump, say
from worker.delivery import BrokerUnavailable, TopologyMismatch
from worker.sample import SIMULATOR_STATE
from worker.settings import NEEDED_TO_WORK, load, unknown_variables

db = typer.Typer(no_args_is_help=True, help="Bring the tables to this version, or look whether they are.")
topology = typer.Typer(no_args_is_help=True, help="Declare the exchanges and queues in RabbitMQ, or look for them.")
NO_BROKER = "Nothing to do: `local:` needs no RabbitMQ."

keys = typer.Typer(no_args_is_help=True, help="Make the keys that private keys are sealed with.")


def worker() -> None:
    """Work until SIGTERM or SIGINT: take events, make ConnectWise match, publish results.

    At the end what is under way gets 25 seconds to finish (exit code 6 if that was not enough; nothing is lost). A
    broker that is away is waited for. The tables must be there: run `phin-connectwise db upgrade` first.
    """
    settings = load(required=NEEDED_TO_WORK)
    for name in unknown_variables():
        complain(f"{name} is no setting, so it is ignored; `phin-connectwise --help` names all settings.")
    logs.configure(settings.log_level, settings.log_format)
    app = build(settings)
    stop = Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # A second signal ends the process at once.
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    app.start()
    stop.wait()
    if not app.drain(DRAIN_SECONDS):
        # Calls that hang would hold up the interpreter's end.
        sys.stderr.flush()
        os._exit(DRAIN_TIMED_OUT)


def simulator(
    state: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="The state document; by default the sample's.")
    ] = SIMULATOR_STATE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, 0 = a free one.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Append one line of JSON per request to this file.")] = None,
    tls_dir: Annotated[Path | None, typer.Option(help="Keep the certificates here.")] = None,
    host_name: Annotated[
        list[str] | None, typer.Option(help="A further name the certificate is good for; repeatable.")
    ] = None,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Serve http instead of https.")] = False,
) -> None:
    """Serve a simulated ConnectWise until SIGTERM or SIGINT. Prints one line of JSON when ready: url, ca_file, log."""
    options = Options(
        state=state, host=host, port=port, log=log, tls_dir=tls_dir, host_names=tuple(host_name or ()), plain=plain
    )
    with usage():
        run_simulator(options)


@db.command()
def upgrade() -> None:
    """Create or change the tables. Safe to run again, and from several places at once."""
    with _database() as database:
        migrate.upgrade(database)
    say("The tables are those of this version.")


@db.command("check")
def check_db(*, as_json: AsJson = False) -> None:
    """Look whether the tables are those of this version. Exit code 4 if not."""
    problem = None
    with _database() as database:
        try:
            migrate.check(database)
        except (SchemaOutdated, StoreError) as error:
            problem = str(error)
    _report(problem, "The tables are those of this version.", DATABASE, as_json=as_json)


@topology.command()
def declare() -> None:
    """Declare exchanges, queues and bindings; the worker does so too, at every connect."""
    settings = load()
    with _database() as database:
        open_broker(settings, database).declare()
    say(NO_BROKER if settings.is_embedded else "Exchanges and queues are declared.")


@topology.command("check")
def check_topology(*, as_json: AsJson = False) -> None:
    """Look whether exchanges and queues are there, changing nothing. Exit code 3 if not."""
    settings = load()
    problem = None
    with _database() as database:
        try:
            open_broker(settings, database).check()
        except (BrokerUnavailable, TopologyMismatch) as error:
            problem = str(error)
    fine = NO_BROKER if settings.is_embedded else "Exchanges and queues are there."
    _report(problem, fine, BROKER, as_json=as_json)


@keys.command()
def generate(*, as_json: AsJson = False) -> None:
    """Make a pair of seal keys: the private half for the worker, the public half for the platform.

    To replace a key put the new one first and keep the old one, separated by a comma, until all keys are sealed anew.
    """
    pair = generate_keypair()
    if as_json:
        dump({"key_id": pair.key_id, "private": pair.private, "public": pair.public})
        return
    say("# For the worker. Keep it secret: it opens every private key that was sealed for it.")
    say(f"PHIN_CONNECTWISE_SEAL_KEYS={pair.private}")
    say("# For the platform, which seals with it. Not a secret.")
    say(pair.public)


@contextmanager
def _database() -> Iterator[Database]:
    database = open_database(load())
    try:
        yield database
    finally:
        database.close()


def _report(problem: str | None, fine: str, code: int, *, as_json: bool) -> None:
    if as_json:
        dump({"ok": problem is None, "problem": problem})
    elif problem is None:
        say(fine)
    else:
        complain(problem)
    if problem is not None:
        raise typer.Exit(code)
