"""Run the worker inside another program, and push one company's billable users: python embedding.py msp-1 c-17 Acme 42.

Settings come from the environment or `.env`. With the default `BROKER_URL=local:` no broker is needed. The tables are
there after `phin-connectwise db upgrade`, the connection after `connection set`, the mapping after `mapping set`.
"""

import sys
from datetime import UTC, datetime
from time import monotonic, sleep
from uuid import uuid4

from messages import BillingPeriod, PushLine, PushRequested
from store import Database, pushes
from worker import app
from worker.settings import load


def main(partner_id: str, company_id: str, company_name: str, users: str) -> int:
    """Return 0 once every line of the push has its result; `phin-connectwise status` shows them."""
    push = PushRequested(
        partner_id=partner_id,
        correlation_id="embedded",
        push_id=str(uuid4()),
        mode="apply",
        period=BillingPeriod.parse("2026-11"),
        requested_at=datetime.now(UTC),
        requested_by="a program",
        lines=(PushLine(company_id=company_id, company_name=company_name, billable_users=int(users)),),
    )
    with app.build(load()) as worker:  # starts it; drains it at the end
        worker.publish(push)
        is_over = wait_for_end(worker.database, push, seconds=60.0)
    print(push.push_id, "is over" if is_over else "goes on when the worker runs again")
    return 0 if is_over else 1


def wait_for_end(database: Database, push: PushRequested, seconds: float) -> bool:
    """Return True once the push is over, False if that takes too long."""
    until = monotonic() + seconds
    while monotonic() < until:
        with database.begin() as tx:
            found = pushes.find(tx, push.partner_id, push.push_id)
        if found is not None and found.state != "accepted":
            return True
        sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
