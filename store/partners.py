"""The list of all partners."""

from sqlalchemy import select, union

from store.database import Tx
from store.schema import connections, mappings, pushes


def known(tx: Tx) -> list[str]:
    """The ids of all partners that ever connected, mapped or pushed, in order."""
    tables = (connections, mappings, pushes)
    ids = union(*(select(table.c.partner_id) for table in tables)).subquery()
    return list(tx.execute(select(ids.c.partner_id).order_by(ids.c.partner_id)).scalars())
