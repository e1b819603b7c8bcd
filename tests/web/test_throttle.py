"""Passwords cannot be guessed by trying many at once."""

from worker.web.throttle import FREE, OF_ADDRESS_FREE, Throttle


def test_tries_at_the_same_time_count_before_they_are_checked() -> None:
    """Of many tries of a name that begin before the first has failed, only the free ones are checked."""
    throttle = Throttle()
    waits = [throttle.attempt("ana", "192.0.2.1") for _ in range(24)]
    assert [wait == 0 for wait in waits] == [True] * FREE + [False] * (24 - FREE)


def test_logins_that_succeed_slow_down_nobody() -> None:
    """Any number of users behind one address may sign in, also one who mistook the password a few times."""
    throttle = Throttle()
    for number in range(3 * OF_ADDRESS_FREE):
        assert throttle.attempt(f"user-{number}", "192.0.2.1") == 0
        throttle.succeeded(f"user-{number}", "192.0.2.1")
    for _ in range(FREE):
        assert throttle.attempt("ana", "192.0.2.1") == 0
    throttle.succeeded("ana", "192.0.2.1")
    assert throttle.attempt("ana", "192.0.2.1") == 0
