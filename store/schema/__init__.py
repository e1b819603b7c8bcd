"""The tables, for PostgreSQL and SQLite alike.

Times are UTC and sort as stored. `*_json` columns hold JSON text. Constraints make impossible states impossible,
so that a wrong line of code is an error and never a wrong invoice.
"""

from store.schema.catalog import catalog_cache, catalog_questions
from store.schema.columns import UtcTime, metadata
from store.schema.delivery import EXCHANGE_DEFERRED, dead_letter_originals, dead_letters, in_hand, outbox
from store.schema.operators import operation_letters, operations, workers
from store.schema.pages import (
    portal_choices,
    portal_connections,
    portal_counts,
    portal_questions,
    portal_requests,
    web_sessions,
)
from store.schema.partners import connections, leases, mappings, pauses
from store.schema.pushes import (
    FINAL_STATUSES,
    OPEN_STATUSES,
    cancellations,
    company_status,
    ledger,
    push_lines,
    pushes,
    syncs,
)

__all__ = [
    "EXCHANGE_DEFERRED",
    "FINAL_STATUSES",
    "OPEN_STATUSES",
    "UtcTime",
    "cancellations",
    "catalog_cache",
    "catalog_questions",
    "company_status",
    "connections",
    "dead_letter_originals",
    "dead_letters",
    "in_hand",
    "leases",
    "ledger",
    "mappings",
    "metadata",
    "operation_letters",
    "operations",
    "outbox",
    "pauses",
    "portal_choices",
    "portal_connections",
    "portal_counts",
    "portal_questions",
    "portal_requests",
    "push_lines",
    "pushes",
    "syncs",
    "web_sessions",
    "workers",
]
