"""Time that passes for an installation without anybody waiting for it."""

from datetime import timedelta

from sqlalchemy import select, update

from store import Database
from store.schema import UtcTime, leases, metadata
from tests.support.waiting import wait_for


def time_passes(database: Database, length: timedelta) -> None:
    """Make every time in every table earlier by `length`, between two runs: to all that is stored it has passed."""
    wait_for(lambda: _shifted(database, length), "the end of the runs")


def is_left_alone(database: Database, partner_id: str) -> bool:
    """True if the partner is paused, and a run that saw it has ended with a wake-up for the end of the pause."""
    with database.begin() as tx:
        row = tx.execute(select(leases).where(leases.c.partner_id == partner_id)).one()
    waits = row.paused_until is not None and row.wake_at is not None and row.wake_at >= row.paused_until
    return row.token is None and waits


def _shifted(database: Database, length: timedelta) -> bool:
    with database.begin() as tx:
        if any(tx.execute(select(leases.c.token)).scalars()):
            return False
        for table in metadata.sorted_tables:
            times = [column.name for column in table.columns if isinstance(column.type, UtcTime)]
            for row in tx.execute(select(table)).mappings().all() if times else ():
                earlier = {name: row[name] - length for name in times if row[name] is not None}
                which = [column == row[column.name] for column in table.primary_key]
                if earlier:
                    tx.execute(update(table).where(*which).values(earlier))
    return True
