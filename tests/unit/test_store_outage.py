"""An outage of the store ends by itself, whatever the threads of a busy machine do meanwhile."""

from threading import Event, Thread

import pytest

from store import StoreUnavailable
from tests.support.waiting import wait_for
from worker.health import Readiness
from worker.messaging import store_outage, store_retry
from worker.messaging.store_outage import StoreOutage
from worker.messaging.store_retry import StoreNotReady, StoreRetry


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


def test_one_message_that_the_store_refuses_for_ever_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has too little memory for one partner's row, and answers all else: consuming stops once, not for ever.

    That row waits all the same, and an outage that the heartbeat meets begins at once.
    """
    monkeypatch.setattr(store_outage, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(store_retry, "HELD_SECONDS", 0.0)
    stop, readiness = Event(), Readiness()
    outage = StoreOutage(lambda: None, stop, readiness)
    retry, begun = StoreRetry(stop, outage, readiness), list[bool]()

    def refused() -> None:
        raise StoreUnavailable("out of memory")

    for _ in range(3):
        with pytest.raises(StoreNotReady):
            retry.do(refused)
        begun.append(outage.is_on())
        wait_for(lambda: not outage.is_on(), "the end of the outage")
    assert begun[1:] == [False, False]
    assert retry.do(lambda: "handled") == "handled"
    monkeypatch.setattr(store_outage, "PROBE_SECONDS", 60.0)
    outage.begin(StoreUnavailable("away"))
    assert outage.is_on()
    stop.set()
