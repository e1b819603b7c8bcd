"""Rows as an earlier version of the worker has left them, in tables of that version."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from messages import PushRequested
from store.database import Tx
from store.migrate import MIGRATIONS
from tests.support.samples import PARTNER, sync_result


def migrate(tx: Tx, revision: str, migrations: Path = MIGRATIONS) -> None:
    """Bring tables to this revision."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = tx
    command.upgrade(config, revision)


def insert(tx: Tx, table: str, **values: object) -> None:
    """Insert a row as it is."""
    names = ", ".join(values)
    tx.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values)  # noqa: S608


def stored(tx: Tx, event: PushRequested, status: Any, *, shown: bool) -> None:
    """A push and its one line as an earlier version has stored them, before results named their mode."""
    result = sync_result(event, "c-1", status).model_dump_json(exclude={"mode"})
    push_key: dict[str, object] = {"partner_id": PARTNER, "push_id": event.push_id}
    days: dict[str, object] = {"period_start": event.period.start.isoformat(), "period_key": event.period.key}
    at = event.requested_at.isoformat() if tx.dialect.name == "postgresql" else str(event.requested_at)[:19]
    insert(
        tx, "pushes", **push_key, **days, period_end=event.period.end.isoformat(), message_id=str(event.id),
        correlation_id="q", requested_at=at, requested_by="ana", mode=event.mode, body_hash="h", line_count=1,
        accepted_at=at, state="accepted",
    )  # fmt: skip
    insert(
        tx, "push_lines", **push_key, company_id="c-1", company_name="A", billable_users=5, status=status, sequence=1,
        result_id="r", result_json=result,
    )  # fmt: skip
    if shown:
        answer: dict[str, object] = {"sequence": 1, "status": status, "result_json": result, "requested_at": at}
        insert(tx, "company_status", **push_key, **days, company_id="c-1", **answer)
