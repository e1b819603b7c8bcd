"""Pushes: what one asks for, and which billing periods are plausible."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from uuid6 import uuid7

from messages import BillingPeriod, Confirmation, PushLine, PushMode, PushRequested
from store import Database, connections, mappings, now

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
) -> PushRequested:
    """Make a push that names the versions of the connection and mappings stored now, so that it waits for these."""
    with database.begin() as tx:
        connection = connections.current(tx, partner)
        at = now(tx)
        known = mappings.of_companies(tx, partner, {line.company_id for line in lines})
    push_id = str(uuid7())
    return PushRequested(
        partner_id=partner,
        correlation_id=push_id,
        push_id=push_id,
        period=period,
        requested_at=at,
        requested_by=requested_by,
        mode=mode,
        connection_changed_at=connection.changed_at if connection else None,
        confirmations=confirmations,
        lines=tuple(
            line.model_copy(update={"mapping_changed_at": known[line.company_id].changed_at})
            if line.company_id in known
            else line
            for line in lines
        ),
    )


def plausible(period: BillingPeriod) -> BillingPeriod:
    """The period. Raises ValueError for an implausible one, which is likely a typing error."""
    if period.start < EARLIEST:
        raise ValueError(f"the billing period {period} starts before {EARLIEST.year}")
    if period.start > datetime.now(UTC).date() + MAX_AHEAD:
        raise ValueError(f"the billing period {period} starts more than {MAX_AHEAD.days} days ahead")
    return period
