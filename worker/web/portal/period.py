"""The billing period that a page is about: as asked for, else the one imported last, else this month."""

from datetime import UTC, datetime

from messages import BillingPeriod
from store import Tx, portal
from worker.coordination.pushing import plausible
from worker.web.visit import Refusal, Visit


def asked(visit: Visit, tx: Tx) -> BillingPeriod:
    """The period of the page. Raises Refusal for one that is none."""
    if text := visit.asked("period"):
        return parsed(text)
    known = portal.imports(tx, visit.partner)
    return BillingPeriod.parse(known[0].period_key if known else f"{datetime.now(UTC):%Y-%m}")


def parsed(text: str) -> BillingPeriod:
    """The period that a text means: a month, or both days. Raises Refusal."""
    try:
        return plausible(BillingPeriod.parse(text.strip()))
    except ValueError as error:
        raise Refusal(
            422, "This is no billing period", f"Write a month such as 2026-11, or both days: {error}."
        ) from None


def is_past(period: BillingPeriod) -> bool:
    """True if the period has ended."""
    return period.end < datetime.now(UTC).date()
