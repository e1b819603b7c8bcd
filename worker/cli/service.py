"""The commands that run or prepare an installation: `worker`, `simulator`, `db`, `topology`."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from store import Database, SchemaOutdated, StoreError, migrate
from store.retention import Retention
from store.retention import prune as remove_old
from worker import logs, memory, tracing
from worker.bootstrap import open_broker, open_database
from worker.cli.commands import Commands
from worker.cli.cores import Cores
from worker.cli.display.output import complain, dump, safe, say, table
from worker.cli.exits import BROKER, DATABASE, DRAIN_TIMED_OUT
from worker.cli.options import AsJson, usage
from worker.cli.processes import run_processes, stop_on_signal, wait_for_end
from worker.cli.sample import SIMULATOR_STATE
from worker.messaging.broker import BrokerUnavailable, TopologyMismatch
from worker.setting_names import PREFIX
from worker.settings import NEEDED_TO_WORK, Settings, SettingsError, load
from worker.topology import Topology

db = Commands(no_args_is_help=True)
topology = Commands(no_args_is_help=True)
KEPT = Retention()
NO_BROKER = "Nothing to do: `local:` needs no RabbitMQ."


def worker(
    *,
    processes: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Processes that work side by side, one a core.")
    ] = 1,
) -> None:
    """Work until SIGTERM or SIGINT: take events, make ConnectWise match, publish results.

    At the end what is under way gets 25 seconds to finish (exit code 6 if that was not enough; nothing is lost). A
    broker that is away is waited for. The tables must be there: run `phin-connectwise db upgrade` first.
    """
    settings = load(required=NEEDED_TO_WORK)
    logs.configure(settings.log_level, settings.log_format)
    memory.keep_little()
    work = partial(_work, settings, Cores())
    if processes > 1:
        sys.exit(run_processes(processes, work))
    work(0)


def _work(settings: Settings, cores: Cores, number: int) -> None:
    """Work as the process of this number, from 0."""
    from worker.app import DRAIN_SECONDS, build
    from worker.status import status_of

    core = cores.keep(number)
    app, stop = build(settings), stop_on_signal()
    with _traced(settings), status_of(app.readiness, settings, number):
        app.start()
        memory.leave_out_program()
        wait_for_end(stop, core)
        in_time = app.drain(DRAIN_SECONDS)
    if not in_time:
        # Hanging calls would keep the interpreter from ending.
        sys.stderr.flush()
        os._exit(DRAIN_TIMED_OUT)


@contextmanager
def _traced(settings: Settings) -> Iterator[None]:
    """Export traces if the settings say so. Raises SettingsError if OpenTelemetry is not installed."""
    if settings.traces == "off":
        yield
        return
    try:
        from worker.tracing.export import exporting_provider, shut_down

        provider = exporting_provider()
    except ImportError as error:
        advice = "otlp needs OpenTelemetry, which is not installed; install phin-connectwise[traces]"
        raise SettingsError([f"{PREFIX}TRACES: {advice}"]) from error
    except ValueError as error:
        raise SettingsError([f"an OTEL_ variable cannot be used: {error}"]) from error
    tracing.use(provider, messaging_system="phin_connectwise" if settings.is_embedded else "rabbitmq")
    try:
        yield
    finally:
        tracing.use(None)
        shut_down(provider)


def simulator(
    state: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, show_default="the sample's", help="The state document.")
    ] = SIMULATOR_STATE,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on, 0 = a free one.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Append one line of JSON per request to this file.")] = None,
    tls_dir: Annotated[Path | None, typer.Option(help="Keep the certificates here.")] = None,
    host_name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name the certificate is good for; repeatable.")
    ] = None,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Serve http instead of https.")] = False,
) -> None:
    """Serve a simulated ConnectWise until SIGTERM or SIGINT. Prints one line of JSON when ready: url, ca_file, log."""
    from cwclient.simulator import Options, run

    options = Options(
        state=state, host=host, port=port, log=log, tls_dir=tls_dir, host_names=tuple(host_name or ()), plain=plain
    )
    with usage():
        run(options)


@db.command()
def upgrade() -> None:
    """Create or change the tables. Safe to run again, and from several places at once.

    Workers may run if the new tables fit them, too. If not, nothing is changed while one runs (exit code 4). Tables
    that are newer than this program, and fit it, stay as they are.
    """
    with _database() as database:
        before, newest = migrate.upgrade(database), migrate.newest_revision()
        name = database.name
    if before is not None and before >= newest:
        say(f"The tables of {name} were at version {before} already: nothing to do.")
    else:
        say(f"The tables of {name} are at version {newest} now; before: {before or 'none'}.")


@db.command("check")
def check_db(*, as_json: AsJson = False) -> None:
    """Look whether the tables fit this version. Exit code 4 if not."""
    problem = None
    with _database() as database:
        try:
            migrate.check(database)
        except (SchemaOutdated, StoreError) as error:
            problem = str(error)
    _report(problem, "The tables fit this version.", DATABASE, as_json=as_json)


def _days(what: str) -> Any:  # noqa: ANN401 - typer's OptionInfo
    return typer.Option(min=1, metavar="DAYS", help=what)


@db.command()
def prune(
    *,
    pushes: Annotated[int, _days("Pushes with their lines, cancellations, imported counts.")] = KEPT.pushes.days,
    names: Annotated[int, _days("Names of people in them.")] = KEPT.names.days,
    ledger: Annotated[int, _days("What was written to ConnectWise.")] = KEPT.ledger.days,
    dead_letters: Annotated[int, _days("Settled dead letters, and operators' actions.")] = KEPT.dead_letters.days,
    in_hand: Annotated[int, _days("Notes of messages that were delivered again.")] = KEPT.in_hand.days,
    workers: Annotated[int, _days("Workers that have gone.")] = KEPT.workers.days,
    catalog: Annotated[int, _days("Choices read from ConnectWise, and answers.")] = KEPT.catalog.days,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than so many days, and print how much. Safe beside running workers; run it daily.

    Pushes go with their lines once every line was answered so long ago. Those stay that hold the newest count of a
    company and period, or the newest answer of a company: an old push that comes again is compared with them, so it
    is superseded and nothing is written, also if its own rows were removed.

    Names of people (`requested_by`) give way to "removed" so long after an ended push was accepted, a cancellation
    was requested. Rows of the ledger go so long after they were closed; each addition keeps its row of the newest
    period, the guard against older ones. Dead letters go so long after they failed last, if they were discarded, or
    replayed and handled; open ones never, nor what is in them. Operators' actions go so long after they ended.
    Counts that the portal has imported go so long after their import. Connections, mappings, the newest counts of
    pushes, Sync Status and the outbox are never pruned.
    """
    retention = Retention(
        pushes=timedelta(pushes),
        names=timedelta(names),
        ledger=timedelta(ledger),
        dead_letters=timedelta(dead_letters),
        in_hand=timedelta(in_hand),
        workers=timedelta(workers),
        catalog=timedelta(catalog),
    )
    with _database() as database:
        migrate.check(database)
        removed = asdict(remove_old(database, retention, dry_run=dry_run))
    if as_json:
        dump({"dry_run": dry_run, "removed": removed})
        return
    rows = [[safe(name.replace("_", " ")), safe(f"{count:,}")] for name, count in removed.items()]
    table(("What", "Would be removed" if dry_run else "Removed"), rows, right=("Would be removed", "Removed"))


@topology.command()
def declare() -> None:
    """Declare exchanges, queues and bindings; the worker does so too, at every connect, if its user may."""
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


@topology.command()
def definitions(
    passwords: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, metavar="FOLDER", help="Has a file for each user, with the user's name."
        ),
    ] = None,
    vhost: Annotated[str, typer.Option(metavar="NAME", help="The virtual host of the broker's URL.")] = "/",
) -> None:
    """Print RabbitMQ's users with their rights, as definitions for it to import (JSON).

    platform publishes events and reads results; worker consumes, answers and dead-letters; operator publishes, as
    these commands do, and sees RabbitMQ's pages; setup declares exchanges and queues; monitor only sees the pages.

    RabbitMQ takes them by `load_definitions` in its configuration, by `rabbitmqctl import_definitions`, or by its
    pages. Passwords are hashed, each time with another salt. A user without a file cannot log in by a password until
    `rabbitmqctl change_password` gives one.
    """
    from worker.messaging.rabbitmq.users import definitions as made_of
    from worker.messaging.rabbitmq.users import users

    settings = load()
    rabbit = Topology(prefix=settings.queue_prefix, results_queue=settings.results_queue)
    names = [user.name for user in users(rabbit)]
    with usage():
        given = _passwords(passwords, names) if passwords else {}
    dump(made_of(rabbit, vhost, given))
    for name in names:
        if name not in given:
            complain(f"The user {name} has no password.")


def _passwords(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Read the password of each user that has a file in the folder. Raises ValueError if one cannot be used."""
    found: dict[str, str] = {}
    for file in (folder / name for name in names):
        try:
            found[file.name] = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError):
            raise ValueError(f"{file} cannot be read as UTF-8 text") from None
        if not found[file.name]:
            raise ValueError(f"{file} is empty")
    return found


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
