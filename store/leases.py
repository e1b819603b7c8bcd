"""Leases: a partner is due from `wake_at` on, and the one worker that holds its lease calls its ConnectWise."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import ColumnElement, Row, String, and_, bindparam, case, func, or_, select, update

from store import pauses
from store.connections import Version, of_current
from store.database import Tx, db_now, now_once
from store.schema import catalog_questions, connections, leases, mappings, push_lines, syncs
from store.wakeups import wake_after

LEASE_SECONDS = 15.0


@dataclass(frozen=True)
class Health:
    """The health of a partner's ConnectWise. `paused_why` is a problem code.

    `unreachable_count`: failures in a row. `limited_since`: since when it has answered nothing but 429. `failed_runs`:
    runs in a row that a fault of ours has ended.
    """

    paused_until: datetime | None = None
    paused_why: str | None = None
    unreachable_count: int = 0
    unreachable_since: datetime | None = None
    limited_since: datetime | None = None
    failed_runs: int = 0


@dataclass(frozen=True)
class Lease:
    """A lease that was taken, with the request budget that the last holder left `budget_age` seconds ago.

    `at`: the database's time. `health`: as the last call has left it. `paused`: an operator has paused the partner, so
    the worker only answers questions, and calls nothing.
    """

    partner_id: str
    token: str
    at: datetime
    budget_tokens: float | None
    budget_age: float
    health: Health
    paused: bool


@dataclass(frozen=True)
class Renewed:
    """A lease that was renewed. `at`: the database's time; `paused`: an operator has paused the partner.

    `woken_at`: when something that may be due has last come for the partner. `connection`: the version of the newest
    connection, None if the partner never connected; `awaits_check`: it is to be checked.
    """

    at: datetime
    paused: bool
    woken_at: datetime | None
    connection: Version | None
    awaits_check: bool


def claim(tx: Tx, limit: int) -> list[Lease]:
    """Take the leases of up to `limit` partners that are due and have no holder, the longest waiting first.

    A holder that vanished may have spent its whole budget since its last renewal, so none is left then.
    """
    token = str(uuid4())
    rows = tx.execute(_CLAIM, {"limit": limit, "new_token": token, "seconds": LEASE_SECONDS}).all()
    return [
        Lease(
            partner_id=row.partner_id,
            token=token,
            at=row.now,
            budget_tokens=row.budget_tokens,
            budget_age=(row.now - row.budget_at).total_seconds() if row.budget_at else 0.0,
            health=_health(row),
            paused=bool(row.is_paused),
        )
        for row in rows
    ]


_VANISHED = leases.c.token.is_not(None)
_DUE = (
    select(leases.c.partner_id)
    .where(or_(and_(leases.c.token.is_(None), leases.c.wake_at <= db_now()), leases.c.until < db_now()))
    .order_by(func.coalesce(leases.c.until, leases.c.wake_at))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("chosen")
)
_CLAIM = (
    update(leases)
    .where(leases.c.partner_id.in_(select(_DUE.c.partner_id)))
    .values(
        token=bindparam("new_token"),
        until=db_now(bindparam("seconds")),
        budget_tokens=case((_VANISHED, 0.0), else_=leases.c.budget_tokens),
        budget_at=case((_VANISHED, db_now()), else_=leases.c.budget_at),
    )
    .returning(leases, db_now().label("now"), pauses.paused(leases.c.partner_id).label("is_paused"))
)


def any_due() -> ColumnElement[bool]:
    """A condition: a partner is due and has no holder, or has one that vanished."""
    waiting = select(leases.c.partner_id).where(leases.c.token.is_(None), leases.c.wake_at <= now_once())
    vanished = select(leases.c.partner_id).where(leases.c.until < now_once())
    return or_(waiting.exists(), vanished.exists())


def renew(tx: Tx, partner_id: str, token: str, budget_tokens: float) -> Renewed | None:
    """Keep the lease for another LEASE_SECONDS, store the budget, and lock the partner like `Database.partner`.

    None = another worker took over, and this one must discard what it holds.
    """
    given = {"partner": partner_id, "given_token": token, "seconds": LEASE_SECONDS, "tokens": budget_tokens}
    row = tx.execute(_RENEW, given).first()
    if row is None:
        return None
    # A statement of its own: PostgreSQL reads other tables as they were before it had to wait for the lock.
    paused, changed_at, message_id, check_due_at = tx.execute(_AROUND, {"partner": partner_id}).one()
    return Renewed(
        at=row[0],
        paused=bool(paused),
        woken_at=row[1],
        connection=None if changed_at is None else (changed_at, message_id),
        awaits_check=check_due_at is not None,
    )


_RENEW = (
    update(leases)
    .where(leases.c.partner_id == bindparam("partner"), leases.c.token == bindparam("given_token"))
    .values(until=db_now(bindparam("seconds")), budget_tokens=bindparam("tokens"), budget_at=db_now())
    .returning(db_now(), leases.c.wake_at)
)
_AROUND = select(
    pauses.paused(bindparam("partner", type_=String)),
    *map(of_current, (connections.c.changed_at, connections.c.message_id, connections.c.check_due_at)),
)


def release(tx: Tx, partner_id: str, token: str, wake_at: datetime | None = None) -> bool:
    """Give the lease back until `wake_at`, None = until the partner is woken; False = the lease was lost before.

    Call it inside `Database.partner(partner_id)`, or after `renew`, with the time of `due_times` there.
    """
    mine = (leases.c.partner_id == partner_id, leases.c.token == token)
    return tx.execute(update(leases).where(*mine).values(token=None, until=None, wake_at=wake_at)).rowcount == 1


def expire(tx: Tx, partner_id: str, token: str, after: float) -> None:
    """Let the lease expire in so many seconds, as if its holder had vanished: its budget counts as spent."""
    mine = (leases.c.partner_id == partner_id, leases.c.token == token)
    tx.execute(update(leases).where(*mine).values(until=db_now(after)))


def health(tx: Tx, partner_id: str) -> Health:
    """The health of the partner's ConnectWise after its last call; a healthy one if it was never called."""
    row = tx.execute(select(leases).where(leases.c.partner_id == partner_id)).one_or_none()
    return Health() if row is None else _health(row)


def _health(row: Row[Any]) -> Health:
    return Health(
        paused_until=row.paused_until,
        paused_why=row.paused_why,
        unreachable_count=row.unreachable_count,
        unreachable_since=row.unreachable_since,
        limited_since=row.limited_since,
        failed_runs=row.failed_runs,
    )


def save_health(tx: Tx, partner_id: str, health: Health) -> None:
    """Store the health of the partner's ConnectWise, for this worker and the next."""
    tx.execute(
        update(leases)
        .where(leases.c.partner_id == partner_id)
        .values(
            paused_until=health.paused_until,
            paused_why=health.paused_why,
            unreachable_count=health.unreachable_count,
            unreachable_since=health.unreachable_since,
            limited_since=health.limited_since,
            failed_runs=health.failed_runs,
        )
    )


def failing_partners(tx: Tx) -> list[str]:
    """Partners whose failures count towards giving up on open targets."""
    counted = or_(leases.c.unreachable_since.is_not(None), leases.c.limited_since.is_not(None))
    query = (
        select(leases.c.partner_id)
        .where(counted)
        .union(select(syncs.c.partner_id).where(syncs.c.due_at.is_not(None), syncs.c.first_failed_at.is_not(None)))
    )
    return sorted(tx.execute(query).scalars())


def reset_failures(tx: Tx, partner_id: str) -> None:
    """Forget since when the partner's ConnectWise and its open targets have been failing: during a pause nobody tried.

    Call it inside `Database.partner(partner_id)`.
    """
    open_targets = (syncs.c.partner_id == partner_id, syncs.c.due_at.is_not(None))
    tx.execute(update(syncs).where(*open_targets).values(attempts=0, first_failed_at=None))
    before = health(tx, partner_id)
    save_health(tx, partner_id, Health(paused_until=before.paused_until, paused_why=before.paused_why))


def wake(tx: Tx, partner_id: str) -> None:
    """Make the partner due now. A holder looks for due work before its release, so it needs no signal.

    Call it inside `Database.partner(partner_id)`.
    """
    tx.execute(update(leases).where(leases.c.partner_id == partner_id).values(wake_at=db_now()))
    wake_after(tx, "partners")


def wake_all(tx: Tx) -> None:
    """Make every partner due now, after a pause of all."""
    tx.execute(update(leases).values(wake_at=db_now()))
    wake_after(tx, "partners")


def wake_orphaned(tx: Tx) -> list[str]:
    """Wake partners that have due work and no wake-up, and return their ids. A safety net: there should be none.

    Partners that an operator has paused are left alone.
    """
    due = (
        select(syncs.c.partner_id)
        .where(syncs.c.due_at <= db_now())
        .union(
            select(push_lines.c.partner_id).where(push_lines.c.preview_due_at <= db_now()),
            select(mappings.c.partner_id).where(mappings.c.check_due_at <= db_now()),
            select(connections.c.partner_id).where(connections.c.check_due_at <= db_now()),
            select(catalog_questions.c.partner_id).where(catalog_questions.c.due_at <= db_now()),
        )
        .subquery()
    )
    asleep = and_(leases.c.token.is_(None), leases.c.wake_at.is_(None), ~pauses.paused(leases.c.partner_id))
    statement = update(leases).where(asleep, leases.c.partner_id.in_(select(due.c.partner_id))).values(wake_at=db_now())
    return list(tx.execute(statement.returning(leases.c.partner_id)).scalars())


class DueTimes(NamedTuple):
    """When the first target, preview, check or question of a partner is due; None = none is open.

    `at`: the database's time. `woken_at`: as that of a Renewed.
    """

    at: datetime
    woken_at: datetime | None
    target: datetime | None
    preview: datetime | None
    mapping_check: datetime | None
    connection_check: datetime | None
    question: datetime | None

    @property
    def first(self) -> datetime | None:
        """The first of all; None = nothing is open."""
        return min((at for at in self[2:] if at is not None), default=None)

    def is_due(self, time: datetime | None) -> bool:
        """True if this one of the times has come."""
        return time is not None and time <= self.at


def due_times(tx: Tx, partner_id: str) -> DueTimes:
    """Read when work of the partner is due."""
    return DueTimes(*tx.execute(_DUE_TIMES, {"partner": partner_id}).one())


_DUE_TIMES = select(
    db_now(),
    leases.c.wake_at,
    *(
        select(func.min(column)).where(column.table.c.partner_id == bindparam("partner")).scalar_subquery()
        for column in (
            syncs.c.due_at,
            push_lines.c.preview_due_at,
            mappings.c.check_due_at,
            connections.c.check_due_at,
            catalog_questions.c.due_at,
        )
    ),
).where(leases.c.partner_id == bindparam("partner"))
