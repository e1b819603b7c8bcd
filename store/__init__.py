"""The store holds what was requested, what was done, and what is to be sent. It decides; the broker only transports."""

from store.database import Database, Tx, now
from store.database_errors import StoreBusy, StoreConflict, StoreError, StorePooled, StoreUnavailable
from store.migrate import SchemaInUse, SchemaOutdated

__all__ = [
    "Database",
    "SchemaInUse",
    "SchemaOutdated",
    "StoreBusy",
    "StoreConflict",
    "StoreError",
    "StorePooled",
    "StoreUnavailable",
    "Tx",
    "now",
]
