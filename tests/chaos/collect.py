"""The history of a run, from what it left: the platform's messages, the simulator's log, the store."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from messages import PushRequested, decode
from store import Database, Tx
from store.schema import connections, dead_letters, ledger, mappings, syncs
from tests.chaos.history import Entry, History, Patch, Target
from tests.support.platform import Platform

ADDITION = re.compile(r"/agreements/\d+/additions/(\d+)$")

BLAMED = dead_letters.c.reason.in_(("crashed", "unexpected", "delivery_limit"))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The simulator's records, oldest first."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def collect(
    platform: Platform,
    log: Sequence[Mapping[str, Any]],
    state: Mapping[str, Any],
    database_url: str,
    starved: Sequence[str],
) -> History:
    """Put it together. `state` is the simulator's state document at the end."""
    with closing(Database(database_url)) as database, database.begin() as tx:
        return History(
            published=platform.published,
            received=platform.received,
            patches=[patch for record in log if (patch := applied(record)) is not None],
            entries=[_entry(row) for row in tx.execute(select(ledger).order_by(ledger.c.id))],
            targets=[_target(row) for row in tx.execute(select(syncs))],
            buried=frozenset(_buried(tx)),
            blamed=[str(kind) for kind in tx.execute(select(dead_letters.c.kind).where(BLAMED)).scalars()],
            stored={
                **{
                    (row.partner_id, ""): row.changed_at
                    for row in tx.execute(select(connections).order_by(connections.c.changed_at))
                },
                **{(row.partner_id, row.company_id): row.changed_at for row in tx.execute(select(mappings))},
            },
            quantities={
                (str(tenant["company_identifier"]).removeprefix("cw-"), addition["id"]): float(addition["quantity"])
                for tenant in state["tenants"]
                for addition in tenant["additions"]
            },
            starved=starved,
        )


def applied(record: Mapping[str, Any]) -> Patch | None:
    """The PATCH that a record of the simulator's log stands for; None if it is none, or was not applied."""
    found = ADDITION.search(record["path"])
    if record["method"] != "PATCH" or found is None or record["quantity_after"] is None:
        return None
    value = float(record["body"][0]["value"])
    if record["quantity_after"] != value or record["fault"] == "not_kept":
        return None
    return Patch(
        partner_id=str(record["tenant"]).removeprefix("cw-"),
        addition_id=int(found[1]),
        before=float(record["quantity_before"]),
        value=value,
        time=datetime.fromisoformat(record["time"]),
        fault=record["fault"],
    )


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        partner_id=row.partner_id,
        addition_id=row.addition_id,
        push_id=row.push_id,
        companies=tuple(json.loads(row.companies_json)),
        period=(row.period_start, row.period_end),
        before=row.quantity_before,
        wanted=row.quantity_wanted,
        after=row.quantity_after,
        outcome=row.outcome,
    )


def _target(row: Any) -> Target:
    return Target(
        partner_id=row.partner_id,
        company_id=row.company_id,
        period=(row.period_start, row.period_end),
        push_id=row.push_id,
        settled=row.due_at is None,
        addition_id=row.settled_addition_id,
    )


def _buried(tx: Tx) -> Iterator[tuple[str, str]]:
    query = select(dead_letters.c.body).where(dead_letters.c.kind == "push.requested.v1")
    for body in tx.execute(query).scalars():
        push = decode(body, type="push.requested.v1", content_type="application/json", headers={})
        assert isinstance(push, PushRequested)
        yield from ((push.push_id, line.company_id) for line in push.lines)
