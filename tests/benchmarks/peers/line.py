"""One message of a peer: a line to be synced; and the table that keeps its result. All peers share it."""

import json
import os
from dataclasses import dataclass
from typing import Any

BROKER_URL, DATABASE_URL, SITE_URL = (os.environ.get(f"PEER_{name}_URL", "") for name in ("BROKER", "DATABASE", "SITE"))
WORK_QUEUE, RESULTS_QUEUE = (os.environ.get(f"PEER_{name}_QUEUE", "") for name in ("WORK", "RESULTS"))

CONCURRENCY, PREFETCH = 16, 64

TABLE = """
CREATE TABLE results (
    partner_id text, company_id text, period text, push_id text NOT NULL, status text NOT NULL,
    quantity_before float NOT NULL, quantity_after float NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partner_id, company_id, period)
)"""
UPSERT = """
INSERT INTO results (partner_id, company_id, period, push_id, status, quantity_before, quantity_after)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (partner_id, company_id, period) DO UPDATE SET push_id = excluded.push_id, status = excluded.status,
    quantity_before = excluded.quantity_before, quantity_after = excluded.quantity_after, at = now()"""
RESULT_TYPE = "sync.result.v1"


@dataclass(frozen=True)
class PeerLine:
    """A company's users of a period, and the addition that is to hold them."""

    partner_id: str
    company_id: str
    period: str
    push_id: str
    addition_id: int
    users: int

    @property
    def url(self) -> str:
        """The path of its addition."""
        return f"{SITE_URL}/v2025_1/apis/3.0/finance/agreements/{self.addition_id}/additions/{self.addition_id}"

    @property
    def patch(self) -> list[dict[str, Any]]:
        """The body of the PATCH that sets the users."""
        return [{"op": "replace", "path": "quantity", "value": self.users}]

    def status(self, before: float) -> str:
        """The status of the line, by what its addition held before."""
        return "unchanged" if before == self.users else "updated"

    def row(self, before: float) -> tuple[Any, ...]:
        """The values of UPSERT."""
        return (
            *(self.partner_id, self.company_id, self.period, self.push_id),
            *(self.status(before), before, float(self.users)),
        )

    def result(self, before: float) -> bytes:
        """The message for the platform."""
        content = {
            "type": RESULT_TYPE,
            "partner_id": self.partner_id,
            "company_id": self.company_id,
            "period": self.period,
            "push_id": self.push_id,
            "status": self.status(before),
            "quantity_before": before,
            "quantity_wanted": self.users,
            "quantity_after": self.users,
        }
        return json.dumps(content).encode()
