"""While the store is away no message is consumed and none handled, until a probe shows that it is back."""

from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic

from store import StoreError, StoreUnavailable
from worker.health import Readiness

PROBE_SECONDS = 1.0
# After an outage, and for so long after each action that met the like alone, it takes a probe to begin another.
DOUBTED_SECONDS = 10.0


class StoreOutage:
    """Begins when a thread meets it, ends when `probe` raises nothing. Safe from several threads."""

    def __init__(self, probe: Callable[[], None], stop: Event, readiness: Readiness) -> None:
        self._probe, self._stop, self._readiness = probe, stop, readiness
        self._lock = Lock()
        self._is_on = False
        self._doubted_until = 0.0

    def is_on(self) -> bool:
        """True while the outage lasts."""
        return self._is_on

    def meet(self, error: StoreUnavailable) -> bool:
        """Begin an outage, as an action has met it. Returns False if that is doubted: then the action alone waits.

        A store that has just answered the probe may still refuse one large row, or have lost a single file: what other
        partners have sent is handled meanwhile. If it is away again, the heartbeat meets that too.
        """
        with self._lock:
            is_doubted = not self._is_on and monotonic() < self._doubted_until
            if is_doubted:
                self._doubted_until = monotonic() + DOUBTED_SECONDS
        if is_doubted:
            self._readiness.trouble("store", error)
        else:
            self.begin(error)
        return not is_doubted

    def begin(self, error: StoreUnavailable) -> None:
        """Note that the store is away, and start to probe it."""
        self._readiness.trouble("store", error)
        with self._lock:
            if not self._is_on:
                # The thread first: if it cannot be started, the outage must not begin, since nothing would end it.
                Thread(target=self._wait, name="outage", daemon=True).start()
                self._is_on = True

    def _wait(self) -> None:
        """Probe until the store answers. A pause comes first: it may answer the probe and nothing else."""
        while not self._stop.wait(PROBE_SECONDS):
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("store", error, expected=isinstance(error, StoreError))
            else:
                self._readiness.fine("store")
                # By the lock after it has begun, however late the thread that began it goes on.
                with self._lock:
                    self._is_on = False
                    self._doubted_until = monotonic() + DOUBTED_SECONDS
                return
