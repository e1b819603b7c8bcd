"""The store: what was wanted, what was done, what leaves. It decides; the broker only transports."""

from store.database import Database, Tx, now
from store.database_errors import StoreBusy, StoreConflict, StoreError, StoreUnavailable
from store.migrate import SchemaOutdated

__all__ = [
    "Database",
    "SchemaOutdated",
    "StoreBusy",
    "StoreConflict",
    "StoreError",
    "StoreUnavailable",
    "Tx",
    "now",
]
