"""Events that the portal's forms have sent: a form that is sent twice asks for one thing."""

from datetime import datetime

from sqlalchemy import delete, select

from store.database import Tx, db_now, upsert
from store.retention import Retention, taken_up
from store.schema import portal_requests


def find(tx: Tx, partner_id: str, request_id: str) -> str | None:
    """The event, as JSON, that was sent under this id; None if there is none."""
    which = (portal_requests.c.partner_id == partner_id, portal_requests.c.request_id == request_id)
    found = tx.execute(select(portal_requests.c.event_json).where(*which)).scalar()
    return None if found is None else str(found)


def sent_at(tx: Tx, partner_id: str, request_id: str) -> datetime | None:
    """When it was asked for first; None if it was not, or a worker has had it for a day."""
    which = (portal_requests.c.partner_id == partner_id, portal_requests.c.request_id == request_id)
    return tx.execute(select(portal_requests.c.sent_at).where(*which)).scalar()


def keep(tx: Tx, partner_id: str, request_id: str, event_json: str) -> str:
    """Remember the event under this id, until a worker has had it for a day. Returns the one that was there first."""
    tx.execute(delete(portal_requests).where(taken_up(Retention())))
    values = {"partner_id": partner_id, "request_id": request_id, "event_json": event_json, "sent_at": db_now()}
    tx.execute(upsert(tx, portal_requests).values(values).on_conflict_do_nothing())
    return find(tx, partner_id, request_id) or event_json
