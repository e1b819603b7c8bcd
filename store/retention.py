"""The times for which rows are kept, and the removal of older ones; rows the worker still needs stay, however old."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, tuple_, update

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
    push_lines,
    pushes,
    syncs,
    workers,
)

NO_NAME = "removed"
"""The text that stands where a person's name was."""

ROWS_AT_ONCE = 500
PUSHES_AT_ONCE = 10

Where = ColumnElement[bool]


@dataclass(frozen=True)
class Retention:
    """The time for which each is kept; the command's help says from when exactly each counts."""

    pushes: timedelta = timedelta(days=400)
    names: timedelta = timedelta(days=90)
    ledger: timedelta = timedelta(days=3650)
    dead_letters: timedelta = timedelta(days=90)
    in_hand: timedelta = timedelta(days=7)
    workers: timedelta = timedelta(days=1)
    catalog: timedelta = timedelta(days=1)


@dataclass(frozen=True)
class Pruned:
    """The rows that were removed, or would be; a push goes with its lines. `names`: in pushes and cancellations."""

    pushes: int = 0
    push_lines: int = 0
    cancellations: int = 0
    names: int = 0
    ledger: int = 0
    dead_letters: int = 0
    in_hand: int = 0
    workers: int = 0
    catalog_cache: int = 0
    catalog_questions: int = 0


def prune(database: Database, retention: Retention, *, dry_run: bool = False) -> Pruned:
    """Remove what is older than its retention, in small transactions. Safe beside workers. Raises StoreError."""
    old = _Old(database, dry_run=dry_run)
    removed_pushes, removed_lines = old.pushes(_ended(retention.pushes))
    still_named = pushes.c.accepted_at < _before(retention.names)
    still_named_too = cancellations.c.requested_at < _before(retention.names)
    return Pruned(
        pushes=removed_pushes,
        push_lines=removed_lines,
        cancellations=old.rows(cancellations, _done_with(retention.pushes)),
        names=old.names(pushes, and_(still_named, _is_ended(), ~_ended(retention.pushes)))
        + old.names(cancellations, and_(still_named_too, ~_done_with(retention.pushes))),
        ledger=old.rows(ledger, _written_over(retention.ledger)),
        dead_letters=old.rows(dead_letters, _settled(retention.dead_letters)),
        in_hand=old.rows(in_hand, in_hand.c.since < _before(retention.in_hand)),
        workers=old.rows(workers, workers.c.seen_at < _before(retention.workers)),
        catalog_cache=old.rows(catalog_cache, catalog_cache.c.fetched_at < _before(retention.catalog)),
        catalog_questions=old.rows(catalog_questions, _answered(retention.catalog)),
    )


# --- what is old, and not needed any more


def _before(age: timedelta) -> db_now:
    return db_now(-age.total_seconds())


def _is_ended() -> Where:
    return pushes.c.state != "accepted"


def _ended(age: timedelta) -> Where:
    """Pushes that ended so long ago, of which no line is a wish or the newest answer of its company.

    A wish is what an older push, coming again, is compared with: it is then superseded, also if it was removed here.
    """
    mine = and_(push_lines.c.partner_id == pushes.c.partner_id, push_lines.c.push_id == pushes.c.push_id)
    still_new = or_(
        push_lines.c.result_at >= _before(age), push_lines.c.status.in_(OPEN_STATUSES), ~push_lines.c.reported
    )
    wished = and_(syncs.c.partner_id == pushes.c.partner_id, syncs.c.push_id == pushes.c.push_id)
    shown = and_(company_status.c.partner_id == pushes.c.partner_id, company_status.c.push_id == pushes.c.push_id)
    return and_(
        _is_ended(),
        pushes.c.accepted_at < _before(age),
        ~exists().where(mine, still_new),
        ~exists().where(wished),
        ~exists().where(shown),
    )


def _done_with(age: timedelta) -> Where:
    """Cancellations so old, unless their push is under way."""
    its_push = and_(pushes.c.partner_id == cancellations.c.partner_id, pushes.c.push_id == cancellations.c.push_id)
    return and_(cancellations.c.requested_at < _before(age), ~exists().where(its_push, pushes.c.state == "accepted"))


def _written_over(age: timedelta) -> Where:
    """Closed ledger rows so old, of which the addition has a later row with the same or a newer period.

    So each addition keeps the row of the newest period that was written to it: the guard against older periods.
    """
    later = ledger.alias("later")
    same = [later.c[name] == ledger.c[name] for name in ("partner_id", "tenant", "agreement_id", "addition_id")]
    newer = tuple_(later.c.period_start, later.c.period_end) >= tuple_(ledger.c.period_start, ledger.c.period_end)
    is_guarded = exists().where(*same, later.c.id > ledger.c.id, later.c.outcome == "written", newer)
    return and_(ledger.c.closed_at < _before(age), is_guarded)


def _answered(age: timedelta) -> Where:
    """Questions for choices so old, but for those that wait for an answer."""
    return and_(catalog_questions.c.asked_at < _before(age), catalog_questions.c.due_at.is_(None))


def _settled(age: timedelta) -> Where:
    """Dead letters that were discarded, or replayed and the last replay was handled; open ones are never old."""
    handled = and_(dead_letters.c.state == "replayed", dead_letters.c.applied >= dead_letters.c.replays)
    return and_(dead_letters.c.last_failed_at < _before(age), or_(dead_letters.c.state == "discarded", handled))


# --- removing it


class _Old:
    """Removes rows a few at a time, or only counts them."""

    def __init__(self, database: Database, *, dry_run: bool) -> None:
        self._database, self._dry_run = database, dry_run

    def pushes(self, where: Where) -> tuple[int, int]:
        """Delete pushes and their lines, each partner's while nothing else of the partner changes; how many of both."""
        with self._database.begin() as tx:
            found = tx.execute(select(func.count(), func.sum(pushes.c.line_count)).where(where)).one()
            partners = [] if self._dry_run else _partners(tx, pushes, where)
        if self._dry_run:
            return found[0], found[1] or 0
        removed: list[int] = []
        for partner_id in partners:
            while some := self._delete_pushes(partner_id, where):
                removed += some
        return len(removed), sum(removed)

    def _delete_pushes(self, partner_id: str, where: Where) -> list[int]:
        """Delete some of a partner's pushes; how many lines each had."""
        with self._database.partner(partner_id) as tx:
            chosen = select(pushes.c.push_id).where(pushes.c.partner_id == partner_id, where).limit(PUSHES_AT_ONCE)
            which = (pushes.c.partner_id == partner_id, pushes.c.push_id.in_(tx.execute(chosen).scalars().all()))
            return list(tx.execute(delete(pushes).where(*which).returning(pushes.c.line_count)).scalars())

    def names(self, table: Table, where: Where) -> int:
        """Put NO_NAME into `requested_by`, each partner's while nothing else of the partner changes; how often."""
        where = and_(where, table.c.requested_by != NO_NAME)
        with self._database.begin() as tx:
            if self._dry_run:
                return _count(tx, table, where)
            partners = _partners(tx, table, where)
        blanked = 0
        for partner_id in partners:
            mine = and_(table.c.partner_id == partner_id, where)
            with self._database.partner(partner_id) as tx:
                blanked += tx.execute(update(table).where(mine).values(requested_by=NO_NAME)).rowcount
        return blanked

    def rows(self, table: Table, where: Where) -> int:
        """Delete rows, those in use by another transaction left for the next time; how many."""
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
