"""The answers of previews are kept apart from what pushes have done."""

from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from messages import PushRequested
from store import Database, line_results, now
from store.database import Tx
from store.migrate import MIGRATIONS, upgrade
from store.recorded_results import read_result
from tests.support.samples import PARTNER, minute, push, sync_result
from tests.support.store import accept


def _answered(database: Database, event: PushRequested, status: Any) -> None:
    accept(database, event, at=minute(0))
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [sync_result(event, "c-1", status, mode=event.mode)])


def test_a_preview_of_other_counts_is_nothing_to_confirm(database: Database) -> None:
    """`--confirm` lets through what a push held, whatever other counts were tried since."""
    held = push("p-1", {"c-1": 95})
    _answered(database, held, "held")
    for number, (users, status) in enumerate(((950, "held"), (5, "preview"))):
        _answered(database, push(f"tried-{number}", {"c-1": users}, mode="preview", at=1), status)
    with database.begin() as tx:
        (last,) = line_results.newest_of_period(tx, PARTNER, "2025-11", {"c-1": 95})
        (tried,) = line_results.newest_of_period(tx, PARTNER, "2025-11", {"c-1": 950})
    assert (last.push_id, tried.push_id) == ("p-1", "tried-0")


def _migrate(tx: Tx, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = tx
    command.upgrade(config, revision)


def _insert(tx: Tx, table: str, **values: object) -> None:
    names = ", ".join(values)
    tx.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values)  # noqa: S608


def _stored(tx: Tx, event: PushRequested, status: Any, *, shown: bool) -> None:
    """As it was stored before results named their mode."""
    result = sync_result(event, "c-1", status).model_dump_json(exclude={"mode"})
    push_key: dict[str, object] = {"partner_id": PARTNER, "push_id": event.push_id}
    days: dict[str, object] = {"period_start": event.period.start.isoformat(), "period_key": event.period.key}
    at = event.requested_at.isoformat() if tx.dialect.name == "postgresql" else str(event.requested_at)[:19]
    _insert(
        tx, "pushes", **push_key, **days, period_end=event.period.end.isoformat(), message_id=str(event.id),
        correlation_id="q", requested_at=at, requested_by="ana", mode=event.mode, body_hash="h", line_count=1,
        accepted_at=at, state="accepted",
    )  # fmt: skip
    _insert(
        tx, "push_lines", **push_key, company_id="c-1", company_name="A", billable_users=5, status=status, sequence=1,
        result_id="r", result_json=result,
    )  # fmt: skip
    if shown:
        answer: dict[str, object] = {"sequence": 1, "status": status, "result_json": result, "requested_at": at}
        _insert(tx, "company_status", **push_key, **days, company_id="c-1", **answer)


def test_an_upgrade_takes_previews_out_of_sync_status(empty_database: Database) -> None:
    """A row that a preview had hidden is shown again after the upgrade, and results said again name their mode."""
    older, newer = push("p-1", month="2025-10"), push("p-2", at=1)
    with empty_database.begin() as tx:
        _migrate(tx, "0007")
        _stored(tx, older, "updated", shown=False)
        _stored(tx, newer, "failed", shown=False)
        _stored(tx, push("tried", month="2026-10", mode="preview", at=2), "held", shown=True)
    upgrade(empty_database)
    with empty_database.begin() as tx:
        (row,) = tx.execute(text("SELECT push_id, status, requested_at FROM company_status")).all()
        told = tx.execute(text("SELECT push_id, result_json FROM push_lines")).all()
    assert (row[0], row[1]) == ("p-2", "failed")
    assert str(row[2])[:16] == "2025-11-22 10:01"
    assert {name: read_result(result).mode for name, result in told} == {
        "p-1": "apply",
        "p-2": "apply",
        "tried": "preview",
    }
