"""The real worker in a process of its own, which kills itself or stalls at a named point, once, or has a bug there.

`python -m tests.support.hooked_worker POINT FLAG_FILE`, settings from the environment as always. The flag file says
that the hook has struck, so that a restarted worker goes on unhooked. Times are shortened, never the order of things.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from messages import PushRequested
from store import leases
from tests.support.waiting import within
from worker import app, logs, memory
from worker.connectwise import rate_limit
from worker.connectwise.session import ConnectWiseSession
from worker.handlers import HANDLERS
from worker.handlers.pushes import push_requested
from worker.messaging import dispatcher, outbox_consumer, relay, store_outage, store_retry
from worker.messaging.embedded import EmbeddedBroker
from worker.messaging.rabbitmq import RabbitBroker
from worker.rules import quantities, retry
from worker.settings import load
from worker.sync import guard, run, transitions
from worker.sync.calls import Calls
from worker.sync.run import Run

POINTS = (
    "after_accept_commit",
    "after_get",
    "after_ledger_open",
    "after_patch",
    "before_flush_commit",
    "after_flush_commit",
    "before_ack",
    "between_publish_and_delete",
)
# The embedded broker settles in its own way; all else is done alike whatever the broker is.
POINTS_WHEN_EMBEDDED = ("after_patch", "between_publish_and_delete")


def serve() -> None:
    """Run a worker as the command `worker` does."""
    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    memory.keep_little()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = app.build(settings)
    worker.start()
    while not stop.wait(0.1):
        pass
    sys.exit(0 if worker.drain() else 6)


def shorten() -> None:
    """Shorten leases and claims, so that a successor need not wait long; let requests pass as they come."""
    rate_limit.PER_MINUTE, rate_limit.BURST = 60_000.0, 1_000.0
    leases.LEASE_SECONDS = within(3.0)
    run.RENEW_SECONDS = 1.0
    guard.LEASE_LEFT_FOR_PATCH = 1.0
    guard.START_WITHIN = 1.0
    app.HEARTBEAT_SECONDS = 1.0
    store_outage.PROBE_SECONDS = 0.1
    retry.RETRY_FIRST = 0.2
    transitions.READ_AGAIN_AFTER = timedelta(seconds=0.5)
    relay.CLAIM_SECONDS = within(3.0)
    relay.TROUBLE_MOST = store_retry.PAUSE_MOST = 1.0
    # Not the order of messages decides here, but how long the lease of a worker that has died goes on.
    quantities.VERSION_WAIT = timedelta(seconds=within(60.0))
    outbox_consumer.CLAIM_SECONDS, outbox_consumer.EXTEND_SECONDS = within(3.0), 1.0


def once(flag: Path, action: Callable[[], None]) -> Callable[[], None]:
    """Act the first time that this is called, in whichever process."""

    def strike() -> None:
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return
        action()

    return strike


def die() -> None:
    """Kill this process in a way that no handler of a signal sees."""
    os.kill(os.getpid(), signal.SIGKILL)


def mistake() -> None:
    """A bug of ours."""
    raise LookupError("a bug of ours")


def stall(flag: Path) -> None:
    """Hold this thread until the test puts a file `….go` beside the flag."""
    pause = threading.Event()
    while not flag.with_suffix(".go").exists():
        pause.wait(0.05)


def after(owner: Any, name: str, strike: Callable[[], None], when: Callable[..., bool] = lambda *_: True) -> None:
    """Strike after each call of owner.name for whose arguments and result `when` holds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(result, *args):
            strike()
        return result

    setattr(owner, name, wrapped)


def before_the_poisonous_push(action: Callable[[], None]) -> None:
    """Act whenever the push of this id is to be accepted."""

    def accepted(context: Any, event: Any) -> None:
        if event.push_id == "poison":
            action()
        push_requested(context, event)

    HANDLERS[PushRequested] = accepted  # type: ignore[index] # a test may


def hook(point: str, strike: Callable[[], None]) -> None:
    """Put the strike at the point."""
    if point == "after_accept_commit":

        def accepted(*given: Any) -> None:
            push_requested(*given)
            strike()

        HANDLERS[PushRequested] = accepted  # type: ignore[index] # a test may
    elif point == "after_get":
        after(ConnectWiseSession, "addition", strike, lambda *_: _is_working())
    elif point == "after_ledger_open":
        after(Run, "_flush", strike, lambda _result, self: bool(self._calls.to_write))
    elif point == "after_patch":
        after(ConnectWiseSession, "set_quantity", strike)
    elif point == "before_flush_commit":
        after(run, "commit_jobs", strike, lambda committed, *_: bool(committed.results))
    elif point == "after_flush_commit":
        answered: list[bool] = []
        after(run, "commit_jobs", lambda: answered.append(True), lambda committed, *_: bool(committed.results))
        after(Run, "_flush", strike, lambda *_: bool(answered))
    elif point == "before_ack":
        after(dispatcher.Dispatcher, "handle", strike, lambda _result, _self, some: some[0].kind == "push.requested.v1")
    elif point == "between_publish_and_delete":
        after(RabbitBroker, "publish", strike, lambda _result, _self, rows: any(_is_result(row) for row in rows))
        settle_local = EmbeddedBroker._settle

        def settle_rows(self: EmbeddedBroker) -> bool:
            if self._settled:
                strike()
            return settle_local(self)

        EmbeddedBroker._settle = settle_rows  # type: ignore[assignment, method-assign] # a test may
    elif point == "poison":
        before_the_poisonous_push(die)
    elif point == "stall_before_patch":
        start = Calls.start_write

        def start_write(self: Calls) -> bool:
            if self.to_write:
                strike()
            return start(self)

        Calls.start_write = start_write  # type: ignore[method-assign] # a test may
    elif not has_bug(point) and point != "none":
        raise SystemExit(f"no such point: {point}")


def has_bug(point: str) -> bool:
    """Put a bug at the point, which is met each time; False = there is no such point."""
    if point == "bug_in_a_push":
        before_the_poisonous_push(mistake)
    elif point == "bug_in_an_addition":
        decide = transitions.after_read

        def decided(job: Any, actual: Any, moment: Any) -> None:
            if job.address == (1001, 100_001):
                mistake()
            decide(job, actual, moment)

        transitions.after_read = decided
    elif point == "bug_in_a_write":
        write = ConnectWiseSession.set_quantity

        def written(
            self: ConnectWiseSession, agreement_id: int, addition_id: int, quantity: float, seconds: float | None = None
        ) -> Any:
            if addition_id == 100_001:
                mistake()
            return write(self, agreement_id, addition_id, quantity, seconds)

        ConnectWiseSession.set_quantity = written  # type: ignore[method-assign] # a test may
    elif point == "bug_after_a_write":
        after(ConnectWiseSession, "set_quantity", mistake)
    else:
        return False
    return True


def _is_result(row: Any) -> bool:
    return str(row.routing_key) == "sync.result.v1"


def _is_working() -> bool:
    """Not a mapping check, which reads additions too."""
    return not any(frame.f_code.co_name == "check_mapping" for frame in _frames())


def _frames() -> Any:
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


if __name__ == "__main__":
    point, flag = sys.argv[1], Path(sys.argv[2])
    shorten()
    hook(point, once(flag, partial(stall, flag) if point == "stall_before_patch" else die))
    serve()
