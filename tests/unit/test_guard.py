"""The guard of a run: an addition is read only while nothing speaks against it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from time import monotonic

import pytest

from store.leases import Health
from worker.connectwise.circuit_breaker import CircuitBreaker
from worker.connectwise.rate_limit import RequestBudget
from worker.sync.guard import Guard


def _lose_the_lease(guard: Guard) -> None:
    guard.lease_until = 0.0


def _end_the_slice(guard: Guard) -> None:
    guard.slice_until = monotonic() - 1


def _pause(guard: Guard) -> None:
    guard.is_paused = True


def _open_the_circuit(guard: Guard) -> None:
    until = datetime.now(UTC) + timedelta(minutes=1)
    guard.circuit.health = replace(guard.circuit.health, paused_until=until, paused_why="unreachable")


def _change_the_connection(guard: Guard) -> None:
    guard.is_outdated = True


def _push_again(guard: Guard) -> None:
    guard.is_woken = True


def _drain(guard: Guard) -> None:
    guard.draining.set()


@pytest.mark.parametrize(
    "happens",
    [_lose_the_lease, _end_the_slice, _pause, _open_the_circuit, _change_the_connection, _push_again, _drain],
)
def test_no_addition_is_read_any_more(happens: Callable[[Guard], None]) -> None:
    """A thread that goes from one addition to the next stops for whatever stops its run."""
    circuit = CircuitBreaker(timedelta(hours=1), Health())
    far = monotonic() + 3600
    guard = Guard(Event(), circuit, RequestBudget(None, 0.0), lease_until=far, is_paused=False, slice_until=far)
    assert guard.may_read
    happens(guard)
    assert not guard.may_read
