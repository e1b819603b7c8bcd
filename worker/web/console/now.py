"""The console's first page: what runs, what waits and for how long, and who has trouble."""

from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from starlette.responses import Response

from store import Tx, ages, backlog, operation_queries, partner_states, pauses, workers
from store.workers import Worker
from worker.bootstrap import open_broker
from worker.messaging.broker import BrokerUnavailable, QueueDepth, TopologyMismatch
from worker.rules.pauses import PAUSES
from worker.web import live
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Visit

LATE_SECONDS = 60.0
CLOCK_SECONDS = 30.0
NOW_SECONDS, QUEUE_SECONDS = 3, 10
TROUBLED = 12
"""As many partners are named on this page."""


@dataclass(frozen=True)
class Waiting:
    """A row of what waits: how many, since when, and whether that is long."""

    what: str
    count: int | None
    since: datetime | None
    is_late: bool
    hint: str


def show(visit: Visit) -> Response:
    """Show the work of this moment; asked again every few seconds."""
    with visit.site.database.begin() as tx:
        known, waits = ages.read(tx), backlog.read(tx)
        troubled = [one for one in partner_states.read(tx) if one.has_trouble]
        given = {
            "at": known.at,
            "waiting": _waiting(known, waits),
            "workers": workers.recent(tx),
            "running": operation_queries.running(tx),
            "newest": operation_queries.newest(tx, 5),
            "all_paused": _all_paused(tx),
            "troubled": troubled[:TROUBLED],
            "trouble_count": len(troubled),
        }
    template = "console/_now.html" if visit.is_partial else "console/now.html"
    return visit.page(
        template, **given, worker_state=worker_state, reasons=PAUSES, is_embedded=visit.site.settings.is_embedded
    )


def queues(visit: Visit) -> Response:
    """The depth of RabbitMQ's queues, which is asked for apart: RabbitMQ may be away while the store answers."""
    problem, depths = None, list[QueueDepth]()
    try:
        depths = open_broker(visit.site.settings, visit.site.database).depths()
    except (BrokerUnavailable, TopologyMismatch) as error:
        problem = str(error)
    template = "console/_queues.html" if visit.is_partial else "console/queues.html"
    return visit.page(template, depths=depths, problem=problem, is_embedded=visit.site.settings.is_embedded)


def follow_now(visit: Visit) -> Response:
    """Tell the page when to look again: every few seconds, as ages grow by themselves."""
    return live.stream(visit, lambda _: (int(monotonic() // NOW_SECONDS), False))


def follow_queues(visit: Visit) -> Response:
    """Tell the page when to ask RabbitMQ again."""
    return live.stream(visit, lambda _: (int(monotonic() // QUEUE_SECONDS), False))


def worker_state(worker: Worker) -> tuple[str, str]:
    """How a worker is, as a colour and in words."""
    if worker.silent:
        return "bad", "silent: killed, or cut off from the database"
    if worker.trouble is not None:
        return "warn", worker.trouble
    ahead = worker.clock_ahead or 0.0
    if abs(ahead) > CLOCK_SECONDS:
        return "warn", f"works; its clock is {abs(ahead):,.0f} s {'fast' if ahead > 0 else 'slow'}"
    return "good", "works"


def _waiting(known: ages.Ages, waits: backlog.Backlog) -> list[Waiting]:
    def late(since: datetime | None, seconds: float = LATE_SECONDS) -> bool:
        return since is not None and (known.at - since).total_seconds() > seconds

    oldest = min((found.oldest for found in known.letters.values()), default=None)
    return [
        Waiting("Targets due", waits.lines, known.target, late(known.target), "lines that a worker is to take up"),
        Waiting("Outbox", waits.outbox, known.outbox, late(known.outbox), "messages that are to leave"),
        Waiting("Deferred", waits.deferred, known.deferred, late(known.deferred), "large ones, or above a share"),
        Waiting("Pushes not completed", None, known.push, late(known.push, 3600.0), "the oldest of them"),
        Waiting("Open dead letters", waits.dead_letters, oldest, waits.dead_letters > 0, "they wait for an operator"),
    ]


def _all_paused(tx: Tx) -> pauses.Pause | None:
    return next((one for one in pauses.all_pauses(tx) if one.partner_id == pauses.EVERYBODY), None)


PAGES = (
    Page("GET", "/console/now", Right.READ, show),
    Page("GET", "/console/now/events", Right.READ, follow_now),
    Page("GET", "/console/queues", Right.READ, queues),
    Page("GET", "/console/queues/events", Right.READ, follow_queues),
)
