"""The newest versions of a connection and its mappings: those that are stored, and those on their way to a worker."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from store import connections, mappings
from store.any_of import any_of
from store.database import Tx, upsert
from store.schema import portal_choices, portal_connections

_CHOSEN = select(portal_choices.c.company_id, portal_choices.c.changed_at).where(
    portal_choices.c.partner_id == bindparam("partner"), any_of(portal_choices.c.company_id, "companies")
)


@dataclass(frozen=True)
class NewestVersions:
    """The times of the last changes: of the connection, and of the mappings by company id."""

    connection: datetime | None
    mappings: Mapping[str, datetime]


def read(tx: Tx, partner_id: str, company_ids: Collection[str]) -> NewestVersions:
    """The newest versions of the connection and of these companies' mappings."""
    stored = connections.current(tx, partner_id)
    sent = tx.execute(
        select(portal_connections.c.changed_at).where(portal_connections.c.partner_id == partner_id)
    ).scalar()
    changes = {name: one.changed_at for name, one in mappings.of_companies(tx, partner_id, company_ids).items()}
    for row in tx.execute(_CHOSEN, {"partner": partner_id, "companies": list(company_ids)}):
        changes[row.company_id] = max(row.changed_at, changes.get(row.company_id, row.changed_at))
    times = [at for at in (stored.changed_at if stored else None, sent) if at is not None]
    return NewestVersions(max(times, default=None), changes)


def keep_connection(tx: Tx, partner_id: str, changed_at: datetime) -> None:
    """Remember that the portal has sent a connection of this time."""
    statement = upsert(tx, portal_connections).values(partner_id=partner_id, changed_at=changed_at)
    newer = portal_connections.c.changed_at < statement.excluded.changed_at
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["partner_id"], set_={"changed_at": statement.excluded.changed_at}, where=newer
        )
    )
