"""Pushes: what one asks for, and which billing periods are plausible."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from uuid6 import uuid7

from messages import BillingPeriod, Confirmation, PushLine, PushMode, PushRequested
from store import Database, newest_versions, now

EARLIEST = date(2015, 1, 1)
MAX_AHEAD = timedelta(days=100)
"""The longest time before its start that a billing period may be pushed: a quarter is, a mistyped year is not."""


def requested(
    database: Database,
    partner: str,
    period: BillingPeriod,
    lines: Sequence[PushLine],
    *,
    mode: PushMode,
    requested_by: str,
    confirmations: tuple[Confirmation, ...] = (),
    push_id: str | None = None,
) -> PushRequested:
    """Make a push that names the newest versions of the connection and mappings, so that it waits for these.

    `push_id`: a new one if None.
    """
    with database.begin() as tx:
        at = now(tx)
        newest = newest_versions.read(tx, partner, {line.company_id for line in lines})
    push_id = push_id or str(uuid7())
    return PushRequested(
        partner_id=partner,
        correlation_id=push_id,
        push_id=push_id,
        period=period,
        requested_at=at,
        requested_by=requested_by,
        mode=mode,
        connection_changed_at=newest.connection,
        confirmations=confirmations,
        lines=tuple(
            line.model_copy(update={"mapping_changed_at": newest.mappings.get(line.company_id)}) for line in lines
        ),
    )


def plausible(period: BillingPeriod) -> BillingPeriod:
    """The period. Raises ValueError for an implausible one, which is likely a typing error."""
    if period.start < EARLIEST:
        raise ValueError(f"the billing period {period} starts before {EARLIEST.year}")
    if period.start > datetime.now(UTC).date() + MAX_AHEAD:
        raise ValueError(f"the billing period {period} starts more than {MAX_AHEAD.days} days ahead")
    return period
