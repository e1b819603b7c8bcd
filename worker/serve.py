"""A partner's turn: take its lease, if it is free, and have one run work."""

from dataclasses import replace
from datetime import timedelta
from time import monotonic

import structlog

from store import StoreError, leases, now
from worker import catalog
from worker.run import LeaseLost, Run, Tools

BUG_PAUSE = timedelta(minutes=1)

log = structlog.get_logger()


def serve(tools: Tools, partner_id: str) -> None:
    """Take the partner's lease, if it is free, and work until nothing is due or it is time to stop."""
    started = monotonic()
    with tools.database.begin() as tx:
        lease = leases.acquire(tx, partner_id)
        if lease is None:
            catalog.refuse_if_paused(tx, partner_id)
    if lease is None:
        return
    try:
        Run(tools, partner_id, lease, started + leases.LEASE_SECONDS).work()
    except LeaseLost:
        log.warning("lease.lost")
    except StoreError:
        raise
    except Exception:
        log.exception("run.failed")
        _pause_after_bug(tools, partner_id, lease.token)


def _pause_after_bug(tools: Tools, partner_id: str, token: str) -> None:
    """Leave the partner alone for a while: whatever it was, it must neither spin nor hold up the others."""
    with tools.database.partner(partner_id) as tx:
        at, health = now(tx), leases.health(tx, partner_id)
        paused = replace(health, paused_until=at + BUG_PAUSE, paused_why="unexpected")
        leases.save_health(tx, partner_id, paused)
        leases.wake(tx, partner_id, at + BUG_PAUSE)
        leases.release(tx, partner_id, token)
