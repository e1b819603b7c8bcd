"""An outage of the store ends by itself, whatever the threads of a busy machine do meanwhile."""

from threading import Event, Thread

import pytest

from store import StoreUnavailable
from tests.support.waiting import wait_for
from worker.health import Readiness
from worker.messaging import store_outage
from worker.messaging.store_outage import StoreOutage


def test_an_outage_ends_though_whoever_began_it_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker consumes again although the store was back before the thread that met the outage had the processor."""
    probed = Event()

    class HeldUp(Thread):
        """A thread whose starter gets the processor back only when the thread has done all that it can."""

        def start(self) -> None:
            super().start()
            assert probed.wait(20)
            self.join(0.5)

    monkeypatch.setattr(store_outage, "PROBE_SECONDS", 0)
    monkeypatch.setattr(store_outage, "Thread", HeldUp)
    outage = StoreOutage(probed.set, Event(), Readiness())
    outage.begin(StoreUnavailable("away"))
    wait_for(lambda: not outage.is_on(), "the end of the outage")
