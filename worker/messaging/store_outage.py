"""The outage of the store: while it lasts nothing is consumed and nothing tried, until the store answers again."""

from collections.abc import Callable
from threading import Event, Lock, Thread

from store import StoreError, StoreUnavailable
from worker.health import Readiness

PROBE_SECONDS = 1.0


class StoreOutage:
    """Begins when somebody meets it, ends when `probe` raises nothing. Safe from several threads."""

    def __init__(self, probe: Callable[[], None], stop: Event, readiness: Readiness) -> None:
        self._probe, self._stop, self._readiness = probe, stop, readiness
        self._lock = Lock()
        self._is_on = False

    def is_on(self) -> bool:
        """True while it lasts."""
        return self._is_on

    def begin(self, error: StoreUnavailable) -> None:
        """The store is away."""
        self._readiness.trouble("store", error)
        with self._lock:
            if not self._is_on:
                # First, in case that no thread can be started: an outage that nobody ends would last for ever.
                Thread(target=self._wait, name="outage", daemon=True).start()
                self._is_on = True

    def _wait(self) -> None:
        """Ask until the store answers. A pause comes first: it may answer this and nothing else, again and again."""
        while not self._stop.wait(PROBE_SECONDS):
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("store", error, expected=isinstance(error, StoreError))
            else:
                self._readiness.fine("store")
                self._is_on = False
                return
