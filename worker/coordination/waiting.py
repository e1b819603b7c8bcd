"""The reasons why the work of a partner waits, for those who wait."""

from dataclasses import dataclass
from datetime import UTC, datetime

from store import Tx, leases, now, pauses, workers
from store.leases import Health
from worker.rules.pauses import PAUSES
from worker.settings import Settings


@dataclass(frozen=True)
class Cause:
    """The cause in a sentence; `remedy`: the operator's command that ends it, empty = it ends by itself."""

    why: str
    remedy: str = ""


def reason(tx: Tx, settings: Settings, partner_id: str) -> str | None:
    """The reason why this partner's work waits, and the command that ends it; None = not known."""
    found = cause(tx, settings, partner_id)
    return None if found is None else f"{found.why} {found.remedy}".strip()


def cause(tx: Tx, settings: Settings, partner_id: str) -> Cause | None:
    """The cause for which this partner's work waits: a pause, no working worker, or ConnectWise; None = not known."""
    pause = pauses.find(tx, partner_id)
    if pause is not None:
        whose = "--all" if pause.partner_id == pauses.EVERYBODY else f"--partner {partner_id}"
        why = f"Paused by {pause.paused_by} since {_minute(pause.since)}: {pause.why}."
        return Cause(why, f"It goes on after `phin-connectwise resume {whose}`.")
    return _of_workers(tx, settings) or _of_connectwise(leases.health(tx, partner_id), now(tx))


def _of_workers(tx: Tx, settings: Settings) -> Cause | None:
    if settings.is_embedded:
        # The process that waits runs a worker.
        return None
    alive = [worker for worker in workers.recent(tx) if not worker.silent]
    if not alive:
        return Cause("No worker runs.", "Start one with `phin-connectwise worker`.")
    troubles = [worker.trouble for worker in alive]
    return None if None in troubles else Cause(f"No worker can work: {troubles[0]}.")


def _of_connectwise(health: Health, at: datetime) -> Cause | None:
    if health.paused_until is not None and health.paused_until > at:
        code = health.paused_why or ""
        since = {"unreachable": health.unreachable_since, "rate_limited": health.limited_since}.get(code)
        told = PAUSES.get(code, code.replace("_", " "))
        again = f"it is asked again at {health.paused_until.astimezone(UTC):%H:%M:%S} UTC"
        return Cause(f"{told[0].upper()}{told[1:]}{f', since {_minute(since)}' if since else ''}; {again}.")
    if health.unreachable_since is not None:
        return Cause(f"ConnectWise does not answer, since {_minute(health.unreachable_since)}.")
    return None


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
