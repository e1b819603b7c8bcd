"""Measure a worker whose store holds a million old lines beside one whose store is new, and show the query plans."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from sqlalchemy import Connection, Table, event, func, insert, literal, select, text

from store import Database, Tx, completions, decided_lines, leases, ledger, outbox, past_writes, pushes, targets
from store.schema import ledger as ledger_table
from store.schema import push_lines as lines_table
from store.schema import pushes as pushes_table
from tests.benchmarks import report
from tests.benchmarks.our_worker import OurWorker, our_worker
from tests.benchmarks.report import show
from tests.benchmarks.rounds import run_round
from tests.benchmarks.scenario import Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import stub_connectwise
from tests.support.servers import RABBITMQ

SCENARIO, ROUNDS = Scenario(partners=30, lines=30), 3
PARTNERS_LIKE_EACH, OLD_PUSHES = 11, 101
PARTNER = "p1"


def history() -> Mapping[str, object]:
    """Lines a second with a million old lines in the store, as a ratio to a store without, in rounds that alternate."""
    with ExitStack() as stack:
        broker_url = stack.enter_context(RABBITMQ.running())
        workers = []
        for _ in range(2):
            stub, database_url = stack.enter_context(stub_connectwise(0.0)), stack.enter_context(durable_database())
            ours = stack.enter_context(our_worker(broker_url, database_url, report.folder(), SCENARIO, stub))
            run_round(ours, SCENARIO, 1, stub)
            workers.append((ours, stub))
        old = workers[1][0]
        rows = _age(old.database)
        speeds: list[list[float]] = [[], []]
        for turn in range(2, 2 + ROUNDS):
            for (ours, stub), found in zip(workers, speeds, strict=True):
                found.append(run_round(ours, SCENARIO, turn, stub).lines_per_second)
        plans = _plans(old)
    new_speed, old_speed = map(median, speeds)
    show(
        f"history: {rows:,} rows, {SCENARIO}, {ROUNDS} rounds: {old_speed:.0f} lines/s, {new_speed:.0f} without;"
        f" {old_speed / new_speed:.2f} times the speed"
    )
    for name, plan in plans.items():
        show(f"  {name}: {plan}")
    return {"rows": rows, "lines_per_second": speeds, "plans": plans}


def _age(database: Database) -> int:
    """Copy what each partner has done to older pushes, and to partners like it. Returns the number of rows."""
    likes = select(func.generate_series(0, PARTNERS_LIKE_EACH - 1).label("n")).subquery("likes")
    olds = select(func.generate_series(1, OLD_PUSHES).label("n")).subquery("olds")
    with database.begin() as tx:
        for table in (pushes_table, lines_table, ledger_table):
            _copy(tx, table, likes, olds)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    with database.begin() as tx:
        return sum(
            tx.execute(select(func.count()).select_from(table)).scalar_one() for table in (lines_table, ledger_table)
        )


def _copy(tx: Tx, table: Table, likes: Any, olds: Any) -> None:
    columns = [column for column in table.c if column.name != "id"]
    values: dict[str, Any] = {column.name: column for column in columns}
    values["partner_id"] = table.c.partner_id + func.repeat("-", likes.c.n)
    values["push_id"] = func.concat(table.c.push_id, literal("-"), olds.c.n)
    for name in ("requested_at", "accepted_at", "closed_at", "opened_at"):
        if name in values:
            values[name] = table.c[name] - func.make_interval(0, 0, 0, olds.c.n)
    query = select(*(values[column.name] for column in columns)).select_from(table).join(likes, text("true"))
    tx.execute(insert(table).from_select([column.name for column in columns], query.join(olds, text("true"))))


def _plans(ours: OurWorker) -> dict[str, str]:
    """The plan of each statement that runs often, by what it does: the indexes that it uses, and its time."""
    with ours.database.begin() as tx:
        newest = (
            tx.execute(select(pushes_table.c.push_id).where(pushes_table.c.partner_id == PARTNER)).scalars().first()
        )
        push = pushes.find(tx, PARTNER, newest or "")
        at = leases.due_times(tx, PARTNER).at
        addition = tx.execute(select(ledger_table.c.agreement_id, ledger_table.c.addition_id).limit(1)).one()
    assert push is not None
    questions: dict[str, Callable[[Tx], object]] = {
        "take partners that are due": lambda tx: leases.claim(tx, 1),
        "when is work of a partner due": lambda tx: leases.due_times(tx, PARTNER),
        "targets that are due": lambda tx: targets.due(tx, PARTNER, at, 100),
        "do lines still hold": lambda tx: decided_lines.now_of_push(tx, push, ["c1", "c2", "c3"]),
        "writes to additions": lambda tx: ledger.still_open(tx, PARTNER, f"cw-{PARTNER}"),
        "quantities of an addition": lambda tx: past_writes.written_quantities(tx, PARTNER, "cw-1", [tuple(addition)]),
        "pushes without open lines": lambda tx: completions.ended(tx, PARTNER, [push.push_id]),
        "pushes that were overlooked": completions.overlooked,
        "messages to be sent": lambda tx: outbox.claim(tx, 500, 60.0),
    }
    return {name: _plan(ours.database, ask) for name, ask in questions.items()}


def _plan(database: Database, ask: Callable[[Tx], object]) -> str:
    found: list[str] = []
    with _explained(database, found), database.begin() as tx:
        ask(tx)
    return "; ".join(found)


@contextmanager
def _explained(database: Database, found: list[str]) -> Iterator[None]:
    def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        with connection.connection.cursor() as beside:  # type: ignore[attr-defined] # psycopg's
            beside.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {statement}", parameters)
            lines = [row[0] for row in beside.fetchall()]
        scans = [line.strip(" ->").split(" (actual")[0] for line in lines if "Scan" in line]
        time = next(line.removeprefix("Execution Time: ") for line in lines if "Execution Time" in line)
        found.append(f"{', '.join(dict.fromkeys(scans))}: {time}")

    event.listen(database.engine, "before_cursor_execute", explain)
    yield
    event.remove(database.engine, "before_cursor_execute", explain)
