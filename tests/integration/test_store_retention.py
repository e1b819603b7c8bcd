"""Old rows are removed, but nothing that the worker still needs, however old."""

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, delete, func, insert, select, update

from messages import LineCounts, PushCompleted, PushLine, PushRequested
from store import (
    Database,
    company_status,
    completions,
    ledger,
    line_results,
    now,
    operations,
    outbox,
    past_writes,
    portal,
    portal_requests,
    targets,
)
from store import schema as tables
from store.database import db_now
from store.dead_letter_queries import DeadLetterFilter
from store.ledger import Closing, LedgerEntry
from store.pushes import Acceptance
from store.retention import NO_NAME, Pruned, Retention, prune
from store.targets import Holder
from tests.support.commands import run
from tests.support.samples import NOVEMBER, OCTOBER, PARTNER, TENANT, minute, push, sync_result
from tests.support.store import accept
from worker.operations import conduct

KEEP = Retention()
OLD = minute(0)  # more than 300 days ago
SHORT = Retention(pushes=timedelta(30), names=timedelta(10))


def _ended(database: Database, event: PushRequested) -> None:
    """Accept a push, answer all its lines and complete it; long ago. Its results have left."""
    accept(database, event, at=OLD)
    results = [sync_result(event, line.company_id, mode=event.mode) for line in event.lines]
    with database.partner(event.partner_id) as tx:
        line_results.record(tx, now(tx), results)
        tx.execute(update(tables.push_lines).where(tables.push_lines.c.push_id == event.push_id).values(result_at=OLD))
        if event.mode == "apply":
            targets.settle(
                tx, PARTNER, [(target, Holder(TENANT, (7, 11))) for target in targets.unsettled(tx, PARTNER)]
            )
        completed = PushCompleted(
            partner_id=event.partner_id,
            correlation_id="q",
            push_id=event.push_id,
            status="completed",
            counts=LineCounts(updated=len(results)),
        )
        completions.complete(tx, completed)
        tx.execute(delete(tables.outbox))


def _count(database: Database, table: Table) -> int:
    with database.begin() as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()


def _ids(database: Database, column: Any) -> list[Any]:
    with database.begin() as tx:
        return list(tx.execute(select(column).order_by(column)).scalars())


def test_old_pushes_go_with_their_lines_and_the_newest_stay(database: Database) -> None:
    """Of a company's pushes the one that set its newest count stays for ever, others until they are old."""
    for number in range(25):
        _ended(database, push(f"p-{number:02}", {"c-1": number, "c-2": 1}, at=number))
    _ended(database, push("partly", {"c-2": 7}, at=100))
    _ended(database, push("october", at=50, month="2025-10"))
    _ended(database, push("preview", at=60, mode="preview"))

    expected = Pruned(pushes=24 + 1, push_lines=48 + 1, names=3)
    assert prune(database, KEEP, dry_run=True).pushes == 0
    assert prune(database, SHORT, dry_run=True) == expected
    assert _count(database, tables.pushes) == 28
    assert prune(database, SHORT) == expected
    assert _ids(database, tables.pushes.c.push_id) == ["october", "p-24", "partly"]
    assert _count(database, tables.push_lines) == 4
    assert prune(database, SHORT) == Pruned()


def test_what_is_open_or_has_not_left_yet_stays(database: Database) -> None:
    """A push that is under way, or whose answer the platform may not have, is never removed, however old."""
    accept(database, push("open", at=0), at=OLD)
    _ended(database, push("overtaken", {"c-2": 1}, at=1))
    _ended(database, push("newest", {"c-2": 2}, at=2))
    with database.begin() as tx:
        outbox.put(tx, sync_result(push("overtaken", {"c-2": 1}, at=1), "c-2"))
    assert prune(database, SHORT).pushes == 0
    assert _ids(database, tables.pushes.c.requested_by) == ["ana@msp-1.example", NO_NAME, NO_NAME]


def test_a_removed_push_that_comes_again_is_superseded(database: Database) -> None:
    """A message that was replayed from an archive a year later changes no quantity."""
    older = push("older", {"c-1": 4}, at=0)
    _ended(database, older)
    _ended(database, push("newer", {"c-1": 5}, at=1))
    assert prune(database, SHORT).pushes == 1
    again = accept(database, older)
    assert (again.acceptance, again.superseded) == (Acceptance.NEW, [("older", "c-1")])
    with database.begin() as tx:
        assert targets.unsettled(tx, PARTNER) == []
        [shown] = company_status.of_partner(tx, PARTNER)
    assert shown.push_id == "newer"


def test_names_go_before_the_pushes(database: Database) -> None:
    """Personal data is kept no longer than needed; who is asked about a running push is still known."""
    _ended(database, push("p-1", at=0))
    with database.begin() as tx:
        row = {"partner_id": PARTNER, "push_id": "p-1", "requested_at": OLD, "requested_by": "ana@msp-1.example"}
        tx.execute(insert(tables.cancellations).values(row))
    names = Retention(names=timedelta(10))
    assert prune(database, names, dry_run=True).names == 2
    assert prune(database, names) == Pruned(names=2)
    assert _ids(database, tables.pushes.c.requested_by) == [NO_NAME]
    assert _ids(database, tables.cancellations.c.requested_by) == [NO_NAME]
    with database.begin() as tx:
        assert line_results.progress(tx, PARTNER, "p-1") == (1, 1)


def test_a_cancellation_stays_as_long_as_its_push_is_under_way(database: Database) -> None:
    """A push that was cancelled does not start again because its cancellation was removed."""
    accept(database, push("running"), at=OLD)
    with database.begin() as tx:
        for push_id in ("running", "never arrived"):
            row = {"partner_id": PARTNER, "push_id": push_id, "requested_at": OLD, "requested_by": "ana"}
            tx.execute(insert(tables.cancellations).values(row))
    assert prune(database, SHORT).cancellations == 1
    assert _ids(database, tables.cancellations.c.push_id) == ["running"]


def _write(database: Database, *, month: Any, addition: int = 11, outcome: Any = "written", closed: bool = True) -> int:
    """A row of the ledger, closed 5,000 days ago."""
    entry = LedgerEntry(
        addition=(7, addition),
        push_id="p-1",
        period_key=month.key,
        period_start=month.start,
        period_end=month.end,
        company_ids=("c-1",),
        quantity_before=4.0,
        quantity_wanted=42.0,
    )
    with database.partner(PARTNER) as tx:
        [opened] = ledger.open_entries(tx, PARTNER, TENANT, [entry], [75.0]).values()
        if closed:
            ledger.close(tx, [Closing(opened.id, outcome, 42.0, 200)])
            aged = update(tables.ledger).where(tables.ledger.c.id == opened.id)
            tx.execute(aged.values(closed_at=db_now(-5000 * 86400)))
    return opened.id


def test_the_ledger_keeps_the_guard_against_older_periods(database: Database) -> None:
    """However old, the last write of each addition's newest period stays, and so does a write whose end is open."""
    _write(database, month=OCTOBER)
    _write(database, month=NOVEMBER)
    newest = _write(database, month=NOVEMBER)
    confirmed = _write(database, month=OCTOBER)
    refused = _write(database, month=NOVEMBER, outcome="refused")
    alone = _write(database, month=OCTOBER, addition=12)
    unfinished = _write(database, month=OCTOBER, addition=13, closed=False)
    additions = [(7, 11), (7, 12), (7, 13)]
    with database.begin() as tx:
        before = past_writes.written_quantities(tx, PARTNER, TENANT, additions)

    assert prune(database, Retention(ledger=timedelta(5001))).ledger == 0
    assert prune(database, KEEP, dry_run=True).ledger == 2
    assert prune(database, KEEP) == Pruned(ledger=2)
    assert _ids(database, tables.ledger.c.id) == [newest, confirmed, refused, alone, unfinished]
    with database.begin() as tx:
        assert set(past_writes.written_quantities(tx, PARTNER, TENANT, additions)) == set(before)
        assert list(ledger.still_open(tx, PARTNER, TENANT)) == [(7, 13)]


def _letter(letter_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": letter_id,
        "queue": "q",
        "properties_json": "{}",
        "body": b"",
        "reason": "contract",
        "error": "",
        "fingerprint": "f",
        "attempts": 1,
        "first_failed_at": OLD,
        "last_failed_at": OLD,
        "state": "open",
        "replays": 0,
        "applied": 0,
    } | changes


def test_only_dead_letters_that_are_dealt_with_go(database: Database) -> None:
    """An open dead letter waits for its human for ever, and a replay that is on its way is not forgotten."""
    with database.begin() as tx:
        letters = [
            _letter("open"),
            _letter("under way", state="replayed", replays=2, applied=1),
            _letter("recent", state="discarded", last_failed_at=db_now()),
        ]
        for letter in letters:
            tx.execute(insert(tables.dead_letters).values(letter))
        done = [_letter(f"d-{number}", state="discarded") for number in range(1200)]
        tx.execute(insert(tables.dead_letters), [*done, _letter("handled", state="replayed", replays=2, applied=2)])
    assert prune(database, KEEP, dry_run=True).dead_letters == 1201
    assert prune(database, KEEP) == Pruned(dead_letters=1201)
    assert _ids(database, tables.dead_letters.c.id) == ["open", "recent", "under way"]


def test_actions_of_operators_go_with_the_letters(database: Database) -> None:
    """It is known who did what as long as the letters are; an action that is not over stays, however old."""
    with database.begin() as tx:
        for name in ("old", "new"):
            operations.note(tx, "pause", by=name, why=None, origin="page", partner_id=PARTNER)
        conduct.begin(tx, "replay", DeadLetterFilter(), by="running", why=None, origin="page")
        aged = update(tables.operations).values(begun_at=db_now(-91 * 86400))
        tx.execute(aged.where(tables.operations.c.begun_by != "new"))
        tx.execute(aged.values(ended_at=db_now(-91 * 86400)).where(tables.operations.c.begun_by == "old"))
    assert prune(database, KEEP) == Pruned(operations=1)
    assert _ids(database, tables.operations.c.begun_by) == ["new", "running"]


def test_traces_of_what_is_over_go(database: Database) -> None:
    """Notes of redelivered messages, workers that have gone, choices and answers do not pile up; questions stay."""
    with database.begin() as tx:
        for age, key in ((0, "now"), (20 * 86400, "old")):
            at = db_now(-age)
            tx.execute(insert(tables.in_hand).values(queue="q", message_key=key, tries=1, since=at))
            tx.execute(insert(tables.workers).values(id=key, host="h", pid=1, started_at=at, seen_at=at))
            row = {"partner_id": PARTNER, "tenant": TENANT, "cache_key": key, "fetched_at": at, "choices": b""}
            tx.execute(insert(tables.catalog_cache).values(row))
            asked = {"partner_id": PARTNER, "message_id": key, "asked_at": at, "answer_json": "{}"}
            tx.execute(insert(tables.catalog_questions).values(asked))
        waits = {"partner_id": PARTNER, "message_id": "waits", "asked_at": at, "event_json": "{}", "due_at": at}
        tx.execute(insert(tables.catalog_questions).values(waits))
    assert prune(database, KEEP) == Pruned(in_hand=1, workers=1, catalog_cache=1, catalog_questions=1)
    assert _ids(database, tables.catalog_questions.c.message_id) == ["now", "waits"]
    assert _ids(database, tables.in_hand.c.message_key) == ["now"]
    assert _ids(database, tables.workers.c.id) == ["now"]


def test_imports_of_the_portal_go_with_the_pushes(database: Database) -> None:
    """Counts stay as long as pushes do, names as others do, what a form has sent until a worker has had it a day."""
    accept(database, push("r-1"))
    line, columns = PushLine(company_id="c-1", company_name="Acme", billable_users=3), tables.portal_counts.c
    with database.begin() as tx:
        for period, days in (("2024-01", 401), ("2025-08", 91), ("2025-11", 0)):
            portal.replace_counts(tx, PARTNER, period, [line], "ana")
            aged = update(tables.portal_counts).where(columns.period_key == period)
            tx.execute(aged.values(imported_at=db_now(-days * 86_400.0)))
        portal_requests.keep(tx, PARTNER, "r-1", "{}")
        portal_requests.keep(tx, PARTNER, "on its way", "{}")
        tx.execute(update(tables.portal_requests).values(sent_at=db_now(-90_000.0)))
    assert prune(database, KEEP) == Pruned(imported_counts=1, names=1, sent_forms=1)
    with database.begin() as tx:
        kept = tx.execute(select(columns.period_key, columns.imported_by).order_by(columns.period_key)).all()
    assert [tuple(row) for row in kept] == [("2025-08", NO_NAME), ("2025-11", "ana")]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_command_prints_what_it_removed(database: Database, database_url: str, tmp_path: Any) -> None:
    """`db prune` counts by table, changes nothing with --dry-run, and refuses an age that makes no sense."""
    _ended(database, push("older", at=0))
    _ended(database, push("newer", at=1))
    settings = {"DATABASE_URL": database_url}
    arguments = ("db", "prune", "--pushes", "30", "--names", "200")
    planned = json.loads(run(*arguments, "--dry-run", "--json", folder=tmp_path, settings=settings).stdout)
    assert planned == {"dry_run": True, "removed": asdict(Pruned(pushes=1, push_lines=1, names=1))}
    done = run(*arguments, folder=tmp_path, settings=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("push lines")] == [
        ["push", "lines", "1"]
    ]
    assert run("db", "prune", "--pushes", "0", folder=tmp_path, settings=settings).returncode == 2
