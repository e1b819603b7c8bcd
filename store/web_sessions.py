"""Sessions of users of the pages. They are the pages' own: no worker reads them."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import and_, delete, insert, or_, select, update

from store.database import Tx, db_now
from store.schema import web_sessions

IDLE, LONGEST = timedelta(hours=8), timedelta(hours=24)
"""A session ends so long after its last request, and so long after the login."""
SEEN_EVERY = timedelta(minutes=1)

_OVER = or_(
    web_sessions.c.seen_at < db_now(-IDLE.total_seconds()), web_sessions.c.created_at < db_now(-LONGEST.total_seconds())
)


@dataclass(frozen=True)
class WebSession:
    """A session: the user's name, and a fingerprint of the password that began it."""

    user_name: str
    credential: str


def begin(tx: Tx, session_id: str, user_name: str, credential: str) -> None:
    """Keep a new session, and forget those that are over."""
    tx.execute(delete(web_sessions).where(_OVER))
    values = {"user_name": user_name, "credential": credential, "created_at": db_now(), "seen_at": db_now()}
    tx.execute(insert(web_sessions).values(session_id=session_id, **values))


def find(tx: Tx, session_id: str) -> WebSession | None:
    """The session, None if it is unknown or over."""
    found = tx.execute(
        select(web_sessions.c.user_name, web_sessions.c.credential).where(
            web_sessions.c.session_id == session_id, ~_OVER
        )
    ).first()
    return WebSession(found.user_name, found.credential) if found else None


def seen(tx: Tx, session_id: str) -> None:
    """Note that the session is in use, once a minute at most."""
    is_old = web_sessions.c.seen_at < db_now(-SEEN_EVERY.total_seconds())
    tx.execute(
        update(web_sessions).where(and_(web_sessions.c.session_id == session_id, is_old)).values(seen_at=db_now())
    )


def end_all(tx: Tx, user_name: str) -> int:
    """End all sessions of a user, on whatever device. Returns their number."""
    return tx.execute(delete(web_sessions).where(web_sessions.c.user_name == user_name)).rowcount
