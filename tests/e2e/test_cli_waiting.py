"""A command that waits for its push, and a database that goes away meanwhile."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from cwclient.simulator.faults import Latency
from tests.support.case import Case
from tests.support.waiting import wait_for, within

ALL_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_a_push_outlasts_the_database(busy: Case) -> None:
    """Its worker goes on when the database is back, and so does the command: it ends with the push's results."""
    counts = busy.world.folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc1,Company 1,5\n")
    busy.world.simulator.faults.add(Latency(seconds=within(0.5)))
    requests = len(busy.world.simulator.log)
    arguments = ("push", "--partner", "p1", "--period", "2026-11", "--counts", str(counts))
    with ThreadPoolExecutor() as pool:
        command = pool.submit(busy.world.command, *arguments)
        wait_for(lambda: len(busy.world.simulator.log) > requests, "ConnectWise to be asked")
        with busy.world.database.begin() as tx:
            tx.execute(ALL_OTHERS)
        done = command.result()
    assert done.returncode == 0, done.stderr
    assert "updated" in done.stdout
