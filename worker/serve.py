"""A partner's turn: take its lease, if it is free, and have one run work."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from time import monotonic

import structlog

from messages import SyncResult
from store import StoreError, leases, now, pauses
from worker.giving_up import fail_all, refuse
from worker.policy import UNEXPECTED_TRIES, AllFailed
from worker.problems import problem
from worker.run import LeaseLost, Run
from worker.settle import log_answers
from worker.tools import Tools

BUG_PAUSE = timedelta(minutes=1)

log = structlog.get_logger()


def serve(tools: Tools, partner_id: str) -> None:
    """Take the partner's lease, if it is free, and work until nothing is due or it is time to stop."""
    started, refused = monotonic(), list[SyncResult]()
    with tools.database.begin() as tx:
        lease = leases.acquire(tx, partner_id)
        if lease is None and pauses.find(tx, partner_id) is not None:
            # There is no run that would say so to those who wait for an answer.
            refused = refuse(tx, now(tx), partner_id, problem("paused"))
    log_answers(refused)
    if lease is None:
        return
    try:
        Run(tools, partner_id, lease, started + leases.LEASE_SECONDS).work()
    except LeaseLost:
        log.warning("lease.lost")
    except StoreError:
        # The same is tried again as soon as the store allows it: then the lease must not be in the way.
        with suppress(StoreError), tools.database.begin() as tx:
            leases.end_now(tx, partner_id, lease.token)
        raise
    except Exception:
        log.exception("run.failed")
        _after_bug(tools, partner_id, lease.token)


def _after_bug(tools: Tools, partner_id: str, token: str) -> None:
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
        if due is not None:
            leases.wake(tx, partner_id, max(due, until))
        leases.release(tx, partner_id, token)


def _give_up(tools: Tools, partner_id: str) -> None:
    with tools.database.partner(partner_id) as tx:
        answers = fail_all(tx, now(tx), partner_id, AllFailed(problem("unexpected"), "unexpected"))
    log_answers(answers)
