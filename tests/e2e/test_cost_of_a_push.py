"""The cost of a push in counts: statements, transactions, requests. Times depend on a machine, counts do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event, select

from store import Database, mappings
from store.schema import leases, outbox
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.connectwise import rate_limit
from worker.sync import run

LINES = 100


class Cost(NamedTuple):
    """The counts of a push, from its acceptance until all of it has left, and the partner has no work."""

    statements: int
    transactions: int
    reads: int
    writes: int


@dataclass
class Sql:
    """The SQL of a worker, without transactions that looked for work and found none."""

    statements: int = 0
    transactions: int = 0
    _open: dict[int, list[int]] = field(default_factory=dict)

    def note(self, tx: Any, cursor: Any, *_: object) -> None:
        """Note a statement and the number of its rows."""
        self._open.setdefault(id(tx), []).append(cursor.rowcount)

    def end(self, tx: Any) -> None:
        """Count a transaction that is committed."""
        rows = self._open.pop(id(tx), [])
        if any(rows):
            self.statements += len(rows)
            self.transactions += 1


@contextmanager
def counted(database: Database) -> Iterator[Sql]:
    """Count what is executed and committed on this database's connections."""
    sql = Sql()
    listeners = (("after_cursor_execute", sql.note), ("commit", sql.end))
    for name, listener in listeners:
        event.listen(database.engine, name, listener)
    yield sql
    for name, listener in listeners:
        event.remove(database.engine, name, listener)


def test_lines_of_a_push_share_statements(
    amqp_url: str, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are read, opened and answered together: the database is not asked for each, and ConnectWise once or twice.

    Neither the request budget nor a slow machine divides here what is stored together.
    """
    monkeypatch.setattr(rate_limit, "PER_MINUTE", 60_000.0)
    monkeypatch.setattr(rate_limit, "BURST", 1_000.0)
    monkeypatch.setattr(run, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(run, "FLUSH_SECONDS_MOST", 60.0)
    with World(amqp_url, postgresql_url, tmp_path, companies=LINES) as world:
        connection, mapped = world.connected("p1"), [world.mapped("p1", number) for number in range(1, LINES + 1)]
        with app.build(world.settings) as worker:
            world.publish(connection, *mapped)
            wait_for(lambda: _are_checked(world), "the checks", timeout=120)

            def cost(companies: range, users: int) -> Cost:
                push = world.push("p1", dict.fromkeys(companies, users), connection=connection, mappings=mapped)
                before = len(world.simulator.log)
                with counted(worker.database) as sql:
                    world.publish(push)
                    wait_for(lambda: world.state_of(push) == "completed" and _is_quiet(world), "the end", timeout=60)
                methods = [entry["method"] for entry in world.simulator.log[before:]]
                return Cost(sql.statements, sql.transactions, methods.count("GET"), methods.count("PATCH"))

            cost(range(1, 2), 6)  # the first write notes that it is allowed, and loads what later pushes find
            changed, unchanged, single = cost(range(1, 101), 7), cost(range(1, 101), 7), cost(range(1, 2), 8)
    assert (changed.reads, changed.writes) == (LINES, LINES)
    assert (unchanged.reads, unchanged.writes) == (LINES, 0)
    assert (single.reads, single.writes) == (1, 1)
    assert max(changed.statements, unchanged.statements, single.statements) <= 60, (changed, unchanged, single)
    assert max(changed.transactions, unchanged.transactions, single.transactions) <= 12, (changed, unchanged, single)


def _is_quiet(world: World) -> bool:
    """True if nothing is to be sent and no partner is served."""
    with world.database.begin() as tx:
        unsent = tx.execute(select(outbox.c.id)).first()
        served = tx.execute(select(leases.c.token).where(leases.c.token.is_not(None))).first()
    return unsent is None and served is None


def _are_checked(world: World) -> bool:
    with world.database.begin() as tx:
        stored = mappings.of_partner(tx, "p1")
    return len(stored) == LINES and all(mapping.check and mapping.check_due_at is None for mapping in stored)
