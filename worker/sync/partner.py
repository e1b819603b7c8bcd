"""A partner whose lease was taken: one run works for it, and whatever ends that, the lease is let go."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog

from store import StoreError, leases, now
from store.leases import Lease
from worker.rules.outcomes import FailPartner
from worker.rules.problems import problem
from worker.rules.retry import UNEXPECTED_TRIES
from worker.sync.commit import log_answers
from worker.sync.context import RunContext
from worker.sync.fail_open_lines import fail_all
from worker.sync.run import LeaseLost, Run

BUG_PAUSE = timedelta(minutes=1)

log = structlog.get_logger()


def serve(tools: RunContext, lease: Lease, lease_until: float) -> None:
    """Work until nothing is due for the partner or it is time to stop. The lease ends at `lease_until`, monotonic.

    Raises StoreError if the store stands in the way.
    """
    with structlog.contextvars.bound_contextvars(partner=lease.partner_id):
        try:
            Run(tools, lease, lease_until).work()
        except LeaseLost:
            log.warning("lease.lost")
        except StoreError:
            # The partner is taken up again as soon as the store allows it: then the lease must not be in the way.
            with suppress(StoreError), tools.database.begin() as tx:
                leases.expire(tx, lease.partner_id, lease.token)
            raise
        except Exception:
            log.exception("run.failed")
            _after_bug(tools, lease.partner_id, lease.token)


def _after_bug(tools: RunContext, partner_id: str, token: str) -> None:
    """Leave the partner alone for a while: whatever it was, it must neither spin nor hold up the others.

    The third run in a row that ends so fails all that is open: it waits as dead letters, and somebody is told.
    """
    with tools.database.partner(partner_id) as tx:
        health, until = leases.health(tx, partner_id), now(tx) + BUG_PAUSE
        failed_runs = health.failed_runs + 1
        if health.paused_until is None or health.paused_until < until:
            health = replace(health, paused_until=until, paused_why="unexpected")
        leases.save_health(tx, partner_id, replace(health, failed_runs=failed_runs))
    if failed_runs >= UNEXPECTED_TRIES:
        try:
            _give_up(tools, partner_id)
        except StoreError:
            raise
        except Exception:
            # The same fault, perhaps. Nothing is lost: all of it stays open.
            log.exception("lines.not_failed")
    with tools.database.partner(partner_id) as tx:
        due = leases.next_due(tx, partner_id)
        leases.release(tx, partner_id, token, wake_at=None if due is None else max(due, until))


def _give_up(tools: RunContext, partner_id: str) -> None:
    with tools.database.partner(partner_id) as tx:
        answers = fail_all(tx, now(tx), partner_id, FailPartner(problem("unexpected"), "unexpected"))
    log_answers(answers)
