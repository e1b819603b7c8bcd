"""Retention: how long rows are kept, and the removal of older ones. Rows that the worker still needs always stay."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Column, ColumnElement, Table, and_, delete, exists, func, or_, select, tuple_, update

from store.database import Database, Tx, db_now
from store.schema import (
    OPEN_STATUSES,
    cancellations,
    catalog_cache,
    catalog_questions,
    company_status,
    dead_letters,
    in_hand,
    ledger,
    operations,
    outbox,
    portal_counts,
    portal_requests,
    push_lines,
    pushes,
    syncs,
    workers,
)

NO_NAME = "removed"
"""Replaces a removed name."""

ROWS_AT_ONCE = 500
PUSHES_AT_ONCE = 10

Where = ColumnElement[bool]


@dataclass(frozen=True)
class Retention:
    """The time that rows of each kind are kept; the help of `db prune` says from when each time counts."""

    pushes: timedelta = timedelta(days=400)
    names: timedelta = timedelta(days=90)
    ledger: timedelta = timedelta(days=3650)
    dead_letters: timedelta = timedelta(days=90)
    in_hand: timedelta = timedelta(days=7)
    workers: timedelta = timedelta(days=1)
    catalog: timedelta = timedelta(days=1)
    requests: timedelta = timedelta(days=1)


@dataclass(frozen=True)
class Pruned:
    """The number of rows removed, or to be removed. `names`: those removed from rows that stay."""

    pushes: int = 0
    push_lines: int = 0
    cancellations: int = 0
    names: int = 0
    ledger: int = 0
    dead_letters: int = 0
    operations: int = 0
    in_hand: int = 0
    workers: int = 0
    catalog_cache: int = 0
    catalog_questions: int = 0
    imported_counts: int = 0
    sent_forms: int = 0


def prune(database: Database, retention: Retention, *, dry_run: bool = False) -> Pruned:
    """Remove what is older than its retention, in small transactions. Safe beside workers. Raises StoreError."""
    pruner = _Pruner(database, dry_run=dry_run)
    removed_pushes, removed_lines = pruner.pushes(_ended(retention.pushes))
    still_named = pushes.c.accepted_at < _before(retention.names)
    still_named_too = cancellations.c.requested_at < _before(retention.names)
    imported = portal_counts.c.imported_at
    imported_by = and_(imported < _before(retention.names), imported >= _before(retention.pushes))
    return Pruned(
        pushes=removed_pushes,
        push_lines=removed_lines,
        cancellations=pruner.rows(cancellations, _done_with(retention.pushes)),
        names=pruner.names(pushes.c.requested_by, and_(still_named, _is_ended(), ~_ended(retention.pushes)))
        + pruner.names(cancellations.c.requested_by, and_(still_named_too, ~_done_with(retention.pushes)))
        + pruner.names(portal_counts.c.imported_by, imported_by),
        ledger=pruner.rows(ledger, _written_over(retention.ledger)),
        dead_letters=pruner.rows(dead_letters, _settled(retention.dead_letters)),
        operations=pruner.rows(operations, operations.c.ended_at < _before(retention.dead_letters)),
        in_hand=pruner.rows(in_hand, in_hand.c.since < _before(retention.in_hand)),
        workers=pruner.rows(workers, workers.c.seen_at < _before(retention.workers)),
        catalog_cache=pruner.rows(catalog_cache, catalog_cache.c.fetched_at < _before(retention.catalog)),
        catalog_questions=pruner.rows(catalog_questions, _answered(retention.catalog)),
        imported_counts=pruner.rows(portal_counts, imported < _before(retention.pushes)),
        sent_forms=pruner.rows(portal_requests, taken_up(retention)),
    )


# --- conditions for rows that are old and no longer needed


def _before(age: timedelta) -> db_now:
    return db_now(-age.total_seconds())


def _is_ended() -> Where:
    return pushes.c.state != "accepted"


def _ended(age: timedelta) -> Where:
    """Pushes that ended so long ago, whose results have left, and of which no line is a target or in Sync Status.

    A target is what an older push is compared with if it comes again: it is superseded, even if it was removed here.
    """
    mine = and_(push_lines.c.partner_id == pushes.c.partner_id, push_lines.c.push_id == pushes.c.push_id)
    still_new = or_(push_lines.c.result_at >= _before(age), push_lines.c.status.in_(OPEN_STATUSES))
    is_sent = and_(outbox.c.partner_id == pushes.c.partner_id, outbox.c.push_id == pushes.c.push_id)
    is_target = and_(syncs.c.partner_id == pushes.c.partner_id, syncs.c.push_id == pushes.c.push_id)
    in_status = and_(company_status.c.partner_id == pushes.c.partner_id, company_status.c.push_id == pushes.c.push_id)
    return and_(
        _is_ended(),
        pushes.c.accepted_at < _before(age),
        ~exists().where(mine, still_new),
        ~exists().where(is_sent),
        ~exists().where(is_target),
        ~exists().where(in_status),
    )


def _done_with(age: timedelta) -> Where:
    """Cancellations requested so long ago, unless their push is under way."""
    its_push = and_(pushes.c.partner_id == cancellations.c.partner_id, pushes.c.push_id == cancellations.c.push_id)
    return and_(cancellations.c.requested_at < _before(age), ~exists().where(its_push, pushes.c.state == "accepted"))


def _written_over(age: timedelta) -> Where:
    """Ledger rows closed so long ago whose addition has a later write for the same or a newer period.

    So each addition keeps the row of its newest period, which guards it against pushes of older periods.
    """
    later = ledger.alias("later")
    same = [later.c[name] == ledger.c[name] for name in ("partner_id", "tenant", "agreement_id", "addition_id")]
    newer = tuple_(later.c.period_start, later.c.period_end) >= tuple_(ledger.c.period_start, ledger.c.period_end)
    is_guarded = exists().where(*same, later.c.id > ledger.c.id, later.c.outcome == "written", newer)
    return and_(ledger.c.closed_at < _before(age), is_guarded)


def _answered(age: timedelta) -> Where:
    """Catalog questions asked so long ago, except unanswered ones."""
    return and_(catalog_questions.c.asked_at < _before(age), catalog_questions.c.due_at.is_(None))


def _settled(age: timedelta) -> Where:
    """Dead letters that last failed so long ago, and were discarded or replayed and handled; never open ones."""
    handled = and_(dead_letters.c.state == "replayed", dead_letters.c.applied >= dead_letters.c.replays)
    return and_(dead_letters.c.last_failed_at < _before(age), or_(dead_letters.c.state == "discarded", handled))


def taken_up(retention: Retention) -> Where:
    """Requests of the portal's forms that a worker has had for so long; others are kept as long as pushes are."""
    mine = and_(pushes.c.partner_id == portal_requests.c.partner_id, pushes.c.push_id == portal_requests.c.request_id)
    is_there = and_(portal_requests.c.sent_at < _before(retention.requests), exists().where(mine))
    return or_(is_there, portal_requests.c.sent_at < _before(retention.pushes))


# --- removal


class _Pruner:
    """Removes rows a few at a time, or only counts them."""

    def __init__(self, database: Database, *, dry_run: bool) -> None:
        self._database, self._dry_run = database, dry_run

    def pushes(self, where: Where) -> tuple[int, int]:
        """Delete pushes and their lines, partner by partner under the partner's lock; returns the numbers of both."""
        with self._database.begin() as tx:
            counts = tx.execute(select(func.count(), func.sum(pushes.c.line_count)).where(where)).one()
            partners = [] if self._dry_run else _partners(tx, pushes, where)
        if self._dry_run:
            return counts[0], counts[1] or 0
        line_counts: list[int] = []
        for partner_id in partners:
            while deleted := self._delete_pushes(partner_id, where):
                line_counts += deleted
        return len(line_counts), sum(line_counts)

    def _delete_pushes(self, partner_id: str, where: Where) -> list[int]:
        """Delete up to PUSHES_AT_ONCE of a partner's pushes; returns the number of lines of each."""
        with self._database.partner(partner_id) as tx:
            chosen = select(pushes.c.push_id).where(pushes.c.partner_id == partner_id, where).limit(PUSHES_AT_ONCE)
            which = (pushes.c.partner_id == partner_id, pushes.c.push_id.in_(tx.execute(chosen).scalars().all()))
            return list(tx.execute(delete(pushes).where(*which).returning(pushes.c.line_count)).scalars())

    def names(self, name: Column[str], where: Where) -> int:
        """Put NO_NAME into the column, partner by partner under the partner's lock; returns the number of rows."""
        table, where = name.table, and_(where, name != NO_NAME)
        with self._database.begin() as tx:
            if self._dry_run:
                return _count(tx, table, where)
            partners = _partners(tx, table, where)
        blanked = 0
        for partner_id in partners:
            mine = and_(table.c.partner_id == partner_id, where)
            with self._database.partner(partner_id) as tx:
                blanked += tx.execute(update(table).where(mine).values({name: NO_NAME})).rowcount
        return blanked

    def rows(self, table: Table, where: Where) -> int:
        """Delete rows that no other transaction has locked; returns their number."""
        if self._dry_run:
            with self._database.begin() as tx:
                return _count(tx, table, where)
        key = table.primary_key.columns
        chosen = select(*key).where(where).limit(ROWS_AT_ONCE).with_for_update(skip_locked=True)
        removed = 0
        while True:
            with self._database.begin() as tx:
                keys = [tuple(row) for row in tx.execute(chosen)]
                if not keys:
                    return removed
                removed += tx.execute(delete(table).where(tuple_(*key).in_(keys))).rowcount


def _count(tx: Tx, table: Table, where: Where) -> int:
    return tx.execute(select(func.count()).select_from(table).where(where)).scalar_one()


def _partners(tx: Tx, table: Table, where: Where) -> list[str]:
    return list(tx.execute(select(table.c.partner_id).where(where).distinct().order_by(table.c.partner_id)).scalars())
