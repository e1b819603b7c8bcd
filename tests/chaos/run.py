"""One run from start to verdict."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from sqlalchemy import select

from messages import PushCompleted, PushRequested
from store import StoreError
from store.schema import connections, ledger, mappings, outbox
from tests.chaos import report
from tests.chaos.backlog import put_backlog
from tests.chaos.checker import check
from tests.chaos.collect import collect, read_log
from tests.chaos.disturbances import Disturber
from tests.chaos.faults import faults
from tests.chaos.history import History
from tests.chaos.installation import Installation
from tests.chaos.scan import cells, scan
from tests.chaos.scenario import PERSON, Scenario, Size
from tests.chaos.workers import MEMORY_LIMIT, RECORDED, Workers
from tests.support.platform import Platform

# What has queued up meanwhile is worked off with ConnectWise still failing, until most is done or this is over.
FAULTY_FOR, MOST = 90.0, 0.9
SETTLES_WITHIN = 150.0


def run(seed: int, size: Size, folder: Path, console: Console) -> bool:
    """Disturb, wait, judge; whether every promise held."""
    scenario, started = Scenario(seed, size), monotonic()

    def say(text: str) -> None:
        console.print(f"[{monotonic() - started:5.0f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    with Installation(folder, scenario.state()) as installation:
        platform = Platform(installation.rabbitmq.url, installation.results_queue)
        workers = Workers(installation.environment, folder)
        with platform, workers:
            say("servers, workers and platform are up")
            disturbed = _disturb(seed, size, scenario, installation, platform, workers)
            say(f"all is published and no disturbance is left; {platform.repeated} times publishing had to be repeated")
            _wait(lambda: _completed(platform) >= MOST, FAULTY_FOR)
            installation.set_faults([])
            spoiled = len(read_log(installation.request_log))
            say(f"{_completed(platform):.0%} of the pushes are completed, and ConnectWise has no more faults")
            settled = _wait(lambda: not _unsettled(installation, platform), SETTLES_WITHIN)
            say("all is settled" if settled else f"NOT all is settled: {_unsettled(installation, platform)}")
            codes = workers.drain()
            say(f"workers drained with exit codes {codes}; other ends: {dict(workers.ends)}")
        log = read_log(installation.request_log)
        history = collect(platform, log, installation.state(), installation.postgresql.url, workers.starved)
        findings = check(history)
        say(f"checked; searching for the private keys in {folder}, tables, RabbitMQ's and PostgreSQL's files")
        recorded = [(path.name, path.read_bytes()) for path in folder.glob(f"*{RECORDED}")]
        findings["people in spans or metrics"] = scan(PERSON, recorded)
        findings["private keys found"] = scan(scenario.marker, _places(installation))
        disturbed["spans"] = sum(content.count(b"\n") for name, content in recorded if name.startswith("spans"))
        disturbed["consumer timeouts"] = report.consumer_timeouts(installation.rabbitmq.files())
        disturbed[f"MiB of {MEMORY_LIMIT} that a worker took at most"] = round(workers.peak)
        report.survived(console, disturbed, log, spoiled, platform.received)
        held = report.verdict(console, findings) and settled
        if not held:
            _keep(installation, folder, history)
        say("end")
        return held


def _disturb(
    seed: int, size: Size, scenario: Scenario, installation: Installation, platform: Platform, workers: Workers
) -> dict[str, int]:
    """Publish turn by turn while all goes wrong; the counts of what did."""
    installation.set_faults(faults(seed))
    begun, pause = monotonic(), threading.Event()
    told, backlog = scenario.backlog(installation.site)
    platform.publish(told)

    def put() -> None:
        put_backlog(installation.postgresql.url, backlog)
        platform.published += backlog

    with Disturber(seed, size.seconds, workers, installation, put) as disturber:
        for turn in scenario.turns(installation.site):
            pause.wait(max(0.0, begun + turn.at - monotonic()))
            platform.publish(turn.messages)
        disturber.join()
        return {**disturber.done, "large messages of the backlog": len(backlog)}


def _completed(platform: Platform) -> float:
    """The part of the pushes that are completed."""
    asked = {message.push_id for message in platform.published if isinstance(message, PushRequested)}
    completed = {message.push_id for message in list(platform.received) if isinstance(message, PushCompleted)}
    return len(asked & completed) / len(asked)


def _unsettled(installation: Installation, platform: Platform) -> str:
    """The work that is left to be completed, checked, sent or looked up; empty = nothing."""
    if (completed := _completed(platform)) < 1:
        return f"{completed:.1%} of the pushes are completed"
    questions = {
        "messages in the outbox": select(outbox.c.id),
        "open ledger rows": select(ledger.c.id).where(ledger.c.closed_at.is_(None)),
        "mappings to be checked": select(mappings.c.company_id).where(mappings.c.check_due_at.is_not(None)),
        "connections to be checked": select(connections.c.partner_id).where(connections.c.check_due_at.is_not(None)),
    }
    try:
        with installation.database.begin() as tx:
            counts = {what: len(tx.execute(rows).all()) for what, rows in questions.items()}
    except StoreError as error:
        return str(error)
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    until, pause = monotonic() + seconds, threading.Event()
    while not condition():
        if monotonic() > until:
            return False
        pause.wait(1.0)
    return True


def _places(installation: Installation) -> Iterator[tuple[str, bytes]]:
    yield from cells(installation.postgresql.url)
    yield "dead-letters export", installation.command("dead-letters", "export", "--state", "all")
    for path in sorted(installation.folder.iterdir()):
        yield path.name, path.read_bytes()
    # Stopped, so that everything is in their files.
    installation.rabbitmq.stop()
    yield from ((f"RabbitMQ: {name}", content) for name, content in installation.rabbitmq.files())
    yield from ((f"PostgreSQL: {name}", content) for name, content in installation.postgresql.files())


def _keep(installation: Installation, folder: Path, history: History) -> None:
    """Write messages, tables and RabbitMQ's logs, to explain a finding; the other processes' logs are there already."""
    with (folder / "messages.jsonl").open("w", encoding="utf-8") as file:
        for direction, messages in (("published", history.published), ("received", history.received)):
            file.writelines(f"{direction} {message.model_dump_json()}\n" for message in messages)
    rows: dict[str, list[Any]] = {}
    for name, content in cells(installation.postgresql.url):
        rows.setdefault(name, []).append(content.decode(errors="replace"))
    (folder / "tables.json").write_text(json.dumps(rows, indent=1), "utf-8")
    for name, content in installation.rabbitmq.files():
        if name.endswith(".log"):
            (folder / f"rabbitmq-{Path(name).name}").write_bytes(content)
