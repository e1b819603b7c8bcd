"""The supervisor of a leased partner's run: however the run ends, the lease is let go."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog

from store import StoreConflict, StoreError, leases, now
from store.leases import Lease
from worker import metrics, tracing
from worker.rules.outcomes import FailPartner
from worker.rules.problems import problem
from worker.rules.retry import UNEXPECTED_TRIES
from worker.sync.commit import log_results
from worker.sync.context import RunContext
from worker.sync.fail_open_lines import fail_open_lines
from worker.sync.run import LeaseLost, Run
from worker.sync.run_threads import Steps

BUG_PAUSE = timedelta(minutes=1)
STORE_PAUSE_SECONDS = 2.0

log = structlog.get_logger()


def supervise(context: RunContext, lease: Lease, lease_until: float, wake: Callable[[], None]) -> Steps:
    """Work until nothing is due for the partner or it is time to stop. The lease ends at `lease_until`, monotonic.

    Yields the time until which the run waits, unless `wake` is called sooner. Raises StoreError if the store stands in
    the way.
    """
    try:
        with metrics.LEASES_HELD.track_inprogress(), tracing.spans().run():
            yield from Run(context, lease, lease_until, wake).work()
    except LeaseLost:
        log.warning("lease.lost")
    except StoreError as error:
        # The partner is claimed again as soon as the store allows it: then the lease must not be in the way. But a
        # store that takes claims and no results (a disk nearly full) must not have ConnectWise asked without end.
        pause = 0.0 if isinstance(error, StoreConflict) else STORE_PAUSE_SECONDS
        with suppress(StoreError), context.database.begin() as tx:
            leases.expire(tx, lease.partner_id, lease.token, pause)
        raise
    except Exception:
        log.exception("run.failed")
        _pause_after_bug(context, lease.partner_id, lease.token)


def _pause_after_bug(context: RunContext, partner_id: str, token: str) -> None:
    """Leave the partner alone for a while: a bug of ours must neither spin nor hold up the others.

    The third run in a row that ends so fails all open lines: they become dead letters, and the coordinator is told.
    """
    with context.database.partner(partner_id) as tx:
        health, until = leases.health(tx, partner_id), now(tx) + BUG_PAUSE
        failed_runs = health.failed_runs + 1
        if health.paused_until is None or health.paused_until < until:
            health = replace(health, paused_until=until, paused_why="unexpected")
        leases.save_health(tx, partner_id, replace(health, failed_runs=failed_runs))
    if failed_runs >= UNEXPECTED_TRIES:
        try:
            _give_up(context, partner_id)
        except StoreError:
            raise
        except Exception:
            # The same bug, perhaps. Nothing is lost: all lines stay open.
            log.exception("lines.not_failed")
    with context.database.partner(partner_id) as tx:
        due = leases.due_times(tx, partner_id).first
        leases.release(tx, partner_id, token, wake_at=None if due is None else max(due, until))


def _give_up(context: RunContext, partner_id: str) -> None:
    is_all = False
    while not is_all and not context.draining.is_set():
        with context.database.partner(partner_id) as tx:
            answered = fail_open_lines(tx, now(tx), partner_id, FailPartner(problem("unexpected"), "unexpected"))
        log_results(answered.results)
        is_all = answered.is_all
