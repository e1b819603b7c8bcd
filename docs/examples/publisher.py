"""Push one company's billable users: python publisher.py amqp://guest:guest@localhost/ msp-1 c-17 Acme 42 2026-11."""

import sys
from datetime import UTC, datetime
from uuid import uuid4

from messages import EXCHANGE_IN, BillingPeriod, Publisher, PublishError, PushLine, PushRequested, Unreachable


def push(partner_id: str, company_id: str, company_name: str, users: int, month: str) -> PushRequested:
    """A push of one company; a real one has a line for each company of the partner."""
    return PushRequested(
        partner_id=partner_id,
        correlation_id="click-4711",  # every answer carries it
        push_id=str(uuid4()),
        mode="apply",
        period=BillingPeriod.parse(month),
        requested_at=datetime.now(UTC),
        requested_by="ana@msp-1.example",
        lines=(PushLine(company_id=company_id, company_name=company_name, billable_users=users),),
    )


def main(url: str, partner_id: str, company_id: str, name: str, users: str, month: str, prefix: str = "") -> int:
    """Return 0 once the broker has the push. `prefix` is the worker's QUEUE_PREFIX."""
    event = push(partner_id, company_id, name, int(users), month)
    with Publisher(url, exchange=f"{prefix}{EXCHANGE_IN}") as publisher:
        try:
            publisher.publish(event)
        except Unreachable as error:
            # The outcome is unknown. The same message, with the same id, may be published again.
            print(f"Try again later: {error}", file=sys.stderr)
            return 1
        except PublishError as error:
            # Unroutable: no worker has declared the queue. Refused: the broker said no.
            print(f"Not published: {error}", file=sys.stderr)
            return 1
    print(event.push_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
