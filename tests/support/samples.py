"""Sample messages and rows: a partner `msp-1` in November 2025. Minutes count from ten o'clock of the 22nd."""

from collections.abc import Mapping as Map
from datetime import UTC, datetime, timedelta
from typing import Any

from messages import BillingPeriod, LineStatus, MappingChanged, Problem, PushLine, PushRequested, SyncResult
from store.connections import ConnectionVersion
from store.mappings import Mapping

PARTNER = "msp-1"
TENANT = "na.myconnectwise.net acme"
TEN = datetime(2025, 11, 22, 10, 0, tzinfo=UTC)
NOVEMBER = BillingPeriod.parse("2025-11")
OCTOBER = BillingPeriod.parse("2025-10")
PROBLEM = Problem(code="sample", title="A problem", detail="What happened.", fix="What to do.")


def minute(minutes: float) -> datetime:
    """So many minutes after ten."""
    return TEN + timedelta(minutes=minutes)


def push(
    push_id: str = "p-1", users: Map[str, int] | None = None, *, at: float = 0, month: str = "2025-11", **changes: Any
) -> PushRequested:
    """A push of these users by company, requested at that minute."""
    fields: dict[str, Any] = {
        "partner_id": PARTNER,
        "correlation_id": "q-1",
        "push_id": push_id,
        "period": BillingPeriod.parse(month),
        "requested_at": minute(at),
        "requested_by": "ana@msp-1.example",
        "mode": "apply",
        "lines": tuple(
            PushLine(company_id=company, company_name=company.upper(), billable_users=count)
            for company, count in (users or {"c-1": 5}).items()
        ),
    }
    return PushRequested(**fields | changes)


def sync_result(
    event: PushRequested, company_id: str = "c-1", status: LineStatus = "updated", *, sequence: int = 1, **changes: Any
) -> SyncResult:
    """An answer to a line of this push."""
    fields: dict[str, Any] = {
        "partner_id": event.partner_id,
        "correlation_id": event.correlation_id,
        "push_id": event.push_id,
        "company_id": company_id,
        "period": event.period,
        "requested_at": event.requested_at,
        "sequence": sequence,
        "status": status,
        "attempts": 1,
        "problem": PROBLEM if status in {"failed", "held", "skipped", "retrying"} else None,
        "next_attempt_at": minute(60) if status == "retrying" else None,
    }
    return SyncResult(**fields | changes)


def mapping_changed(number: int = 0, **changes: Any) -> MappingChanged:
    """The platform's message that a company's mapping changed."""
    fields: dict[str, Any] = {
        "partner_id": PARTNER,
        "correlation_id": "q-1",
        "changed_at": TEN,
        "company_id": f"c-{number}",
        "company_name": "Acme",
    }
    return MappingChanged(**fields | changes)


def mapping(company_id: str = "c-1", addition_id: int | None = 11, *, at: float = 0, **changes: Any) -> Mapping:
    """A stored mapping: company 1, agreement 7 and this addition, made at that minute."""
    fields: dict[str, Any] = {
        "partner_id": PARTNER,
        "company_id": company_id,
        "changed_at": minute(at),
        "message_id": f"m-{at:g}",
        "company_name": company_id.upper(),
        "cw_company_id": 1,
        "agreement_id": 7,
        "addition_id": addition_id,
    }
    return Mapping(**fields | changes)


def connection(*, at: float = 0, **changes: Any) -> ConnectionVersion:
    """A stored connection, announced at that minute."""
    fields: dict[str, Any] = {
        "partner_id": PARTNER,
        "changed_at": minute(at),
        "message_id": f"m-{at:g}",
        "tenant": TENANT,
        "site_url": "https://na.myconnectwise.net",
        "company_identifier": "acme",
        "public_key": "public",
        "key_id": "k-1",
        "box": "sealed",
    }
    return ConnectionVersion(**fields | changes)


def disconnect(*, at: float = 0, **changes: Any) -> ConnectionVersion:
    """A stored tombstone."""
    fields: dict[str, Any] = {
        "partner_id": PARTNER,
        "changed_at": minute(at),
        "message_id": f"m-{at:g}",
        "tenant": None,
    }
    return ConnectionVersion(**fields | changes)
