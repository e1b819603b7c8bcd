"""Metrics of the store, which all workers share: read every ten seconds, whoever asks and however often."""

from collections.abc import Iterator
from threading import Event
from time import monotonic

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from store import Database, ages
from store.ages import Ages

READ_SECONDS = 10.0


class StoreMetrics(Collector):
    """Gauges from the last reading. If it failed, only `store_up` is there, and is 0."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: tuple[Ages, float] | None = None

    def run(self, stop: Event) -> None:
        """Read until `stop`."""
        while not stop.is_set():
            try:
                # To connect to a file that is not there would make an empty one.
                if not self._database.is_missing:
                    with self._database.begin() as tx:
                        self._read = ages.read(tx), monotonic()
            except Exception:  # noqa: BLE001 - the database is away or its tables are missing, which readiness tells
                self._read = None
            stop.wait(READ_SECONDS)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; ages go on between readings."""
        read = self._read
        yield _gauge(
            "store_up", "1 = the database answered the last reading, at most ten seconds ago.", read is not None
        )
        if read is None:
            return
        known, read_at = read
        since_reading = monotonic() - read_at
        for name, what, at in (
            ("outbox_oldest_due_seconds", "Age of the oldest message due to be sent; 0 = none.", known.outbox),
            ("deferred_oldest_seconds", "Age of the oldest deferred message; 0 = none.", known.deferred),
            ("target_oldest_due_seconds", "Time for which the oldest line is due; 0 = none is.", known.target),
            ("push_oldest_unfinished_seconds", "Age of the oldest push that is not completed; 0 = none.", known.push),
        ):
            age = 0.0 if at is None else max(0.0, (known.at - at).total_seconds()) + since_reading
            yield _gauge(name, what, age)
        letters = _family("dead_letters_open", "Open dead letters.", "reason")
        oldest = _family("dead_letters_oldest_seconds", "Time since the oldest open dead letter failed.", "reason")
        for reason, found in known.letters.items():
            letters.add_metric([reason], found.count)
            oldest.add_metric([reason], (known.at - found.oldest).total_seconds() + since_reading)
        paused = _family("partners_paused", "Partners whose ConnectWise is left alone for a while.", "reason")
        for reason, count in known.paused.items():
            paused.add_metric([reason], count)
        workers = _family("workers", "Workers by their heartbeats: alive, or silent and not long gone.", "state")
        workers.add_metric(["alive"], known.workers_alive)
        workers.add_metric(["silent"], known.workers_silent)
        yield from (letters, oldest, paused, workers)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"phin_connectwise_{name}", what, value=float(value))


def _family(name: str, what: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"phin_connectwise_{name}", what, labels=[label])
