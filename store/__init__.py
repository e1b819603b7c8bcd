"""The store: what was wanted, what was done, what leaves. It decides; the broker only transports."""

from store.database import Database, StoreConflict, StoreError, StoreUnavailable, Tx, now
from store.migrate import SchemaOutdated

__all__ = ["Database", "SchemaOutdated", "StoreConflict", "StoreError", "StoreUnavailable", "Tx", "now"]
