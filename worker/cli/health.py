"""`health`: checks the workers, the database and RabbitMQ, and shows what waits for whom."""

from dataclasses import asdict, dataclass
from typing import Any

import typer

from store import Database, SchemaOutdated, StoreError, Tx, backlog, migrate, now, pauses, workers
from worker.bootstrap import open_broker, open_database
from worker.cli.display.output import dump, mark, plural, safe, table
from worker.cli.exits import BROKER, DATABASE, UNFINISHED
from worker.cli.options import AsJson
from worker.messaging.broker import BrokerUnavailable, TopologyMismatch
from worker.rules.pauses import PAUSES
from worker.settings import Settings, load

NO_WORKER = "no worker runs"
LATE_SECONDS = 60.0
"""A message that is due for longer is reported."""
CLOCK_SECONDS = 30.0
"""A worker's clock that differs by more from the database's is reported."""


@dataclass(frozen=True)
class Check:
    """The result of one check; `code` is the exit code if it is not `ok`, 0 = no alarm."""

    name: str
    ok: bool
    said: str
    code: int = 0


def health(*, as_json: AsJson = False) -> None:
    """Look at the workers, the database, RabbitMQ, and at what waits.

    Exit code 0 if all is well, 4 if the database is in trouble, 3 if RabbitMQ is, 1 if no worker works.
    """
    settings = load()
    database = open_database(settings)
    try:
        checks = [*_database(settings, database), _broker(settings, database)]
    finally:
        database.close()
    codes = [check.code for check in checks if not check.ok and check.code]
    if as_json:
        dump({"ok": not codes, "checks": [_as_json(check) for check in checks]})
    else:
        rows = [[mark(_mark_kind(check)), safe(check.name), safe(check.said)] for check in checks]
        table(("", "", "What was seen"), rows, widest=40)
    raise typer.Exit(max(codes, default=0))


def _database(settings: Settings, database: Database) -> list[Check]:
    try:
        migrate.check(database)
        with database.begin() as tx:
            fine = Check("database", ok=True, said="answers, with tables that fit")
            return [fine, *_workers(settings, tx), *_waiting(settings, tx)]
    except (SchemaOutdated, StoreError) as error:
        return [Check("database", ok=False, said=str(error), code=DATABASE)]


def _workers(settings: Settings, tx: Tx) -> list[Check]:
    recent = workers.recent(tx)
    # One that works is enough: the others are listed without an alarm.
    working = any(not one.silent and one.trouble is None for one in recent)
    alive = any(not one.silent for one in recent)
    code = 0 if working or (settings.is_embedded and not alive) else UNFINISHED
    checks = [
        Check(
            f"worker {one.host} {one.pid}",
            ok=not one.silent and one.trouble is None,
            said=_worker_state(one),
            code=code,
        )
        for one in recent
    ]
    checks += [
        Check(f"clock of {one.host} {one.pid}", ok=False, said=_clock_difference(one.clock_ahead))
        for one in recent
        if not one.silent and one.clock_ahead is not None and abs(one.clock_ahead) > CLOCK_SECONDS
    ]
    if not alive:
        so = "; commands that push run one" if settings.is_embedded else "; start one with `phin-connectwise worker`"
        checks.append(Check("workers", ok=False, said=f"{NO_WORKER}{so}", code=code))
    return checks


def _worker_state(worker: workers.Worker) -> str:
    if not worker.silent:
        return worker.trouble or "works"
    goes = worker.seen_at + workers.SHOWN_FOR
    return (
        f"was killed, or cut off from the database: silent since {worker.seen_at:%Y-%m-%d %H:%M:%S} UTC; "
        f"another worker takes over its work; this line goes by itself at {goes:%H:%M} UTC"
    )


def _clock_difference(ahead: float) -> str:
    how = f"{abs(ahead):,.0f} s {'fast' if ahead > 0 else 'slow'}"
    return (
        f"{how}, compared with the database's: synchronise it by NTP (or the database's, if every worker says so); "
        "the worker goes by the database's meanwhile, its log by its own"
    )


def _waiting(settings: Settings, tx: Tx) -> list[Check]:
    checks = []
    waiting = backlog.read(tx)
    if waiting.lines_since:
        checks.append(_due_lines(settings, tx, waiting.lines, (now(tx) - waiting.lines_since).total_seconds()))
    age = (now(tx) - waiting.outbox_since).total_seconds() if waiting.outbox_since else 0.0
    late = f", the oldest for {age:.0f} s" if waiting.outbox_since else ""
    due = f"{plural(waiting.outbox, 'message')} due{late}"
    checks.append(Check("outbox", ok=age < LATE_SECONDS, said=due))
    if waiting.deferred:
        deferred = f"{waiting.deferred:,} large, or more than their partners' share, wait for their turn"
        checks.append(Check("deferred", ok=True, said=deferred))
    open_letters = f"{waiting.dead_letters:,} open"
    see = "; see `phin-connectwise dead-letters groups`" if waiting.dead_letters else ""
    checks.append(Check("dead letters", ok=not waiting.dead_letters, said=f"{open_letters}{see}"))
    for why, count in waiting.paused.items():
        said = f"{plural(count, 'partner')}: {PAUSES.get(why, why)}"
        checks.append(Check("waiting", ok=False, said=said))
    for pause in pauses.all_pauses(tx):
        who = f"partner {pause.partner_id}" if pause.partner_id else "all partners"
        said = f"by {pause.paused_by} since {pause.since:%Y-%m-%d %H:%M} UTC: {pause.why}"
        checks.append(Check(f"paused: {who}", ok=False, said=said))
    return checks


def _due_lines(settings: Settings, tx: Tx, count: int, age: float) -> Check:
    """Return the lines that a worker can take up. It is never an alarm: that no worker runs has its own check."""
    alive = any(not one.silent for one in workers.recent(tx))
    goes_on = "; `phin-connectwise worker` or the next push takes them up" if settings.is_embedded and not alive else ""
    return Check("lines", ok=alive, said=f"{plural(count, 'line')} due, the oldest for {age:.0f} s{goes_on}")


def _broker(settings: Settings, database: Database) -> Check:
    if settings.is_embedded:
        return Check("broker", ok=True, said="none is needed")
    try:
        open_broker(settings, database).check()
    except (BrokerUnavailable, TopologyMismatch) as error:
        return Check("broker", ok=False, said=str(error), code=BROKER)
    return Check("broker", ok=True, said="answers, with all exchanges and queues")


def _mark_kind(check: Check) -> str:
    return "good" if check.ok else "bad" if check.code else "unknown"


def _as_json(check: Check) -> dict[str, Any]:
    return {name: value for name, value in asdict(check).items() if name != "code"}
