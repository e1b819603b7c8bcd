"""Publish one event to the broker of BROKER_URL, and print its id, of a push its push id.

    python publisher.py connection msp-1 https://na.myconnectwise.net acmemsp PublicKey SEAL_KEY [ca.pem] < private-key
    python publisher.py mapping msp-1 c-17 Acme 250 1001 100001
    python publisher.py push msp-1 c-17 Acme 42 2026-11

SEAL_KEY is the public line of `phin-connectwise keys generate`. QUEUE_PREFIX is the worker's.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from messages import (
    EXCHANGE_IN,
    BillingPeriod,
    ConnectionChanged,
    MappingChanged,
    Message,
    Publisher,
    PublishError,
    PushLine,
    PushRequested,
    SealKey,
    Unreachable,
    seal,
)


def connection(
    partner_id: str, site_url: str, company_identifier: str, public_key: str, seal_key: str, ca_file: str | None = None
) -> ConnectionChanged:
    """A connection whose private key, from standard input, is sealed to it."""
    sealed = seal(
        sys.stdin.read().removesuffix("\n"),
        public_key=public_key,
        partner_id=partner_id,
        company_identifier=company_identifier,
        site_url=site_url,
        seal_key=SealKey.parse(seal_key),
    )
    return ConnectionChanged(
        partner_id=partner_id,
        correlation_id=str(uuid4()),  # every answer carries it
        changed_at=datetime.now(UTC),
        site_url=site_url,
        company_identifier=company_identifier,
        public_key=public_key,
        sealed_private_key=sealed,
        ca_bundle=Path(ca_file).read_text("ascii") if ca_file else None,
    )


def mapping(
    partner_id: str, company_id: str, company_name: str, cw_company_id: str, agreement_id: str, addition_id: str
) -> MappingChanged:
    """A company of Phin and the addition that stands for it."""
    return MappingChanged(
        partner_id=partner_id,
        correlation_id=str(uuid4()),
        changed_at=datetime.now(UTC),
        company_id=company_id,
        company_name=company_name,
        cw_company_id=int(cw_company_id),
        agreement_id=int(agreement_id),
        addition_id=int(addition_id),
    )


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


def publish(event: Message, url: str, prefix: str) -> int:
    """Return 0 once the broker has the event."""
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
    print(event.push_id if isinstance(event, PushRequested) else event.id)
    return 0


def main(kind: str, *values: str) -> int:
    """Return 0 once the broker has the event."""
    event: Message
    match kind:
        case "connection":
            event = connection(*values)
        case "mapping":
            event = mapping(*values)
        case _:
            partner_id, company_id, company_name, users, month = values
            event = push(partner_id, company_id, company_name, int(users), month)
    return publish(event, os.environ["BROKER_URL"], os.environ.get("QUEUE_PREFIX", ""))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
