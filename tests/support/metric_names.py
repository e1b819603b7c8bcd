"""The metrics of a worker as it serves them: names of series and their labels, read from where they are declared."""

from collections.abc import Collection
from pathlib import Path
from threading import Event

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from store import Database, migrate
from worker import metrics
from worker.status.store_metrics import StoreMetrics

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


class _Once(Event):
    """Stops after one reading."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the signature is the library's
        self.set()
        return True


def families(folder: Path) -> list[Metric]:
    """Return all families of a worker; those of the store are read from a new database in the folder."""
    database = Database(f"sqlite:///{folder / 'metrics.db'}")
    try:
        migrate.upgrade(database)
        store_metrics = StoreMetrics(database)
        store_metrics.run(_Once())
        return [*metrics.REGISTRY.collect(), *store_metrics.collect()]
    finally:
        database.close()


def series(folder: Path) -> set[str]:
    """Return the names of all series."""
    return {family.name + suffix for family in families(folder) for suffix in _SUFFIXES[family.type]}


def labels(folder: Path, names: Collection[str]) -> set[str]:
    """Return the labels of these series."""
    declared = {one._name: one._labelnames for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    found: set[str] = set()
    for family in families(folder):
        if any(family.name + suffix in names for suffix in _SUFFIXES[family.type]):
            found |= {*declared.get(family.name, getattr(family, "_labelnames", ()))}
            found |= {"le"} if family.type == "histogram" else set()
    return found
