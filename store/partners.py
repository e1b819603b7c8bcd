"""The list of all partners."""

from sqlalchemy import select, union

from store.database import Tx
from store.schema import connections, mappings, pushes


def known(tx: Tx) -> list[str]:
    """All partners that ever connected, mapped or pushed, by id."""
    tables = (connections, mappings, pushes)
    found = union(*(select(table.c.partner_id) for table in tables)).subquery()
    return list(tx.execute(select(found.c.partner_id).order_by(found.c.partner_id)).scalars())
