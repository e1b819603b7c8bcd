"""The request budget of a partner."""

import pytest

from worker.connectwise import rate_limit
from worker.connectwise.rate_limit import BURST, PER_MINUTE, RequestBudget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only entry."""
    time = [1000.0]
    monkeypatch.setattr(rate_limit, "monotonic", lambda: time[0])
    return time


def _spend(of: RequestBudget, clock: list[float], seconds: float) -> int:
    """Make requests as fast as the budget allows; how many."""
    count, until = 0, clock[0] + seconds
    while True:
        pause = of.seconds_to_wait()
        if clock[0] + pause > until:
            return count
        clock[0] += pause
        of.spend()
        count += 1


def test_no_minute_has_more_requests_than_connectwise_allows(clock: list[float]) -> None:
    """However long a run lasts, in no minute are there more than 900 requests, and in each at least 840."""
    of = RequestBudget(None, 0.0)
    assert _spend(of, clock, 60.0) == pytest.approx(PER_MINUTE + BURST, abs=1)
    assert _spend(of, clock, 60.0) == pytest.approx(PER_MINUTE, abs=1)


def test_requests_that_nobody_waited_for_are_paid_back(clock: list[float]) -> None:
    """A look-up in between, or four calls started at once, are taken from what comes next."""
    of = RequestBudget(1.0, 0.0)
    for _ in range(4):
        of.spend()
    assert of.tokens == -3
    assert of.seconds_to_wait() == pytest.approx(4 * 60 / PER_MINUTE)


@pytest.mark.parametrize(("left", "age", "tokens"), [(0.0, 2.0, 28.0), (50.0, 3600.0, BURST), (-10.0, 0.0, -10.0)])
def test_a_budget_goes_on_where_it_was_left(clock: list[float], left: float, age: float, tokens: float) -> None:
    """The next worker has what is left and what has come since, but never more than a burst."""
    assert RequestBudget(left, age).tokens == pytest.approx(tokens)
