"""A partner that is known, without any work done for it."""

from datetime import UTC, datetime

from store import Database, mappings
from store.mappings import Mapping


def make_known(database_url: str, partner_id: str) -> None:
    """Have the store know this partner, by a company that was unmapped."""
    database = Database(database_url)
    with database.begin() as tx:
        mappings.save(tx, Mapping(partner_id, "c-0", datetime(2026, 11, 22, tzinfo=UTC), "m", "Nobody"))
    database.close()
