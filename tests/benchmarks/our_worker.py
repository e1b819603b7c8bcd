"""The worker as a contestant: `phin-connectwise worker` on RabbitMQ and PostgreSQL, or embedded."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy import delete, func, insert, select, update

from messages import (
    AgreementTerm,
    ConnectionChanged,
    KeyRing,
    MappingChecked,
    PushLine,
    PushRequested,
    generate_keypair,
    seal,
)
from messages.values import MAX_COUNT
from store import Database, migrate
from store import now as database_now
from store.schema import connections, leases, mappings, outbox
from store.schema import pushes as stored_pushes
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.results_queue import Answer, ResultsQueue
from tests.benchmarks.scenario import PERIOD, Line, Scenario, users
from tests.benchmarks.stored_results import StoredResults
from tests.benchmarks.stub import StubConnectWise
from tests.support.waiting import wait_for
from worker.bootstrap import open_broker, publish
from worker.messaging.rabbitmq import RabbitBroker
from worker.setting_names import PREFIX
from worker.settings import load

ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, "-m", "worker.cli", "worker")
# Whoever does not know its cores keeps to none.
UNBOUND = "import os; del os.sched_getaffinity; from worker.cli import main; main()"
SET_UP_WITHIN = 300.0


class OurWorker(Contestant):
    """An installation whose partners are connected and mapped; `our_worker` makes it."""

    name = "ours"
    program: Sequence[str] = WORKER

    def __init__(self, broker_url: str, database_url: str, folder: Path, processes: int) -> None:
        self._folder, self._processes = folder, processes
        self._running: list[subprocess.Popen[bytes]] = []
        self._keys = generate_keypair()
        values = {
            "broker_url": broker_url,
            "database_url": database_url,
            "client_id": "00000000-0000-0000-0000-000000000001",
            "seal_keys": self._keys.private,
            "allow_private_hosts": "127.0.0.1",
            "queue_prefix": f"bench-{uuid.uuid4().hex[:8]}.",
            # Whatever is pushed is usual.
            "big_jump_count": str(MAX_COUNT),
            "status_address": "127.0.0.1:0",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = kept | {f"{PREFIX}{name.upper()}": value for name, value in values.items()}
        self._settings = load(values)
        self.database = Database(database_url)
        migrate.upgrade(self.database)
        self.broker = open_broker(self._settings, self.database)
        self.broker.declare()
        queue = f"{self._settings.queue_prefix}{self._settings.results_queue}"
        self.results = StoredResults(self.database) if self._settings.is_embedded else ResultsQueue(broker_url, queue)

    def set_up(self, partners: int, companies: int, site_url: str) -> None:
        """Connect the partners 0 to `partners`, map their companies, and have the first push prove each connection."""
        self.start()
        numbers = range(partners + 1)
        publish(self.broker, [self._connected(partner, site_url) for partner in numbers])
        wait_for(lambda: self._checked() == len(numbers), "the connections' checks", SET_UP_WITHIN)
        with self.database.begin() as tx:
            at = database_now(tx)
            tx.execute(insert(mappings), [_mapping(p, c, at) for p in numbers for c in range(1, companies + 1)])
        self.send([Line(partner, 1, users(0, 1)) for partner in numbers])
        self.results.wait(SET_UP_WITHIN)
        self.stop()

    def keep_mapped(self, partner: int, companies: int) -> None:
        """Take all mappings of a partner away but those of its first companies."""
        kept = [f"c{company}" for company in range(1, companies + 1)]
        mine = mappings.c.partner_id == f"p{partner}"
        with self.database.begin() as tx:
            tx.execute(delete(mappings).where(mine, mappings.c.company_id.not_in(kept)))

    def start(self) -> list[int]:
        """Start the worker. Returns its process; it has children if it is to be several."""
        several = ("--processes", str(self._processes)) if self._processes > 1 else ()
        command = [*self.program, *several]
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._running.append(subprocess.Popen(command, env=self._environment, stderr=log, stdout=log, cwd=ROOT))
        return [process.pid for process in self._running]

    def send(self, lines: Sequence[Line]) -> None:
        """Publish one push of each partner."""
        pushes = self.pushes(lines)
        self.results.expect(_answers(pushes))
        self.publish(pushes)

    def pushes(self, lines: Sequence[Line]) -> list[PushRequested]:
        """Make one push of each partner."""
        return [_push(partner, its) for partner, its in groupby(lines, lambda line: line.partner)]

    def publish(self, pushes: Sequence[PushRequested]) -> None:
        """Publish them as the platform does."""
        publish(self.broker, pushes)

    def is_stored(self, push: PushRequested) -> bool:
        """Return True if the worker has accepted the push."""
        with self.database.begin() as tx:
            return tx.execute(select(stored_pushes.c.push_id).filter_by(push_id=push.push_id)).first() is not None

    def rest(self) -> None:
        """Return when no run is under way and nothing waits to be sent; then fill the request budgets."""
        wait_for(self._is_at_rest, "the worker's rest", 60)
        with self.database.begin() as tx:
            tx.execute(update(leases).values(budget_tokens=None, budget_at=None))

    def stop(self) -> None:
        """Let the processes drain."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            assert process.wait(60) == 0
        self._running.clear()

    def kill(self) -> None:
        """End what an error has left running."""
        for process in self._running:
            process.kill()
            process.wait()

    def _is_at_rest(self) -> bool:
        with self.database.begin() as tx:
            held = tx.execute(select(func.count()).where(leases.c.token.is_not(None))).scalar_one()
            waiting = tx.execute(select(func.count()).select_from(outbox)).scalar_one()
        return not held and not waiting

    def _checked(self) -> int:
        with self.database.begin() as tx:
            return tx.execute(select(func.count()).where(connections.c.check_json.is_not(None))).scalar_one()

    def _connected(self, partner: int, site_url: str) -> ConnectionChanged:
        partner_id, company = f"p{partner}", f"cw-{partner}"
        return ConnectionChanged(
            partner_id=partner_id,
            correlation_id="speed",
            changed_at=datetime.now(UTC),
            site_url=site_url,
            company_identifier=company,
            public_key="public",
            sealed_private_key=seal(
                "private-key",
                public_key="public",
                partner_id=partner_id,
                company_identifier=company,
                site_url=site_url,
                seal_key=KeyRing.parse(self._keys.private).seal_key,
            ),
        )


class UnboundWorker(OurWorker):
    """The same on whichever cores the system chooses."""

    name = "unbound"
    program = (sys.executable, "-c", UNBOUND, "worker")


@contextmanager
def our_worker(
    broker_url: str,
    database_url: str,
    folder: Path,
    scenario: Scenario,
    stub: StubConnectWise,
    make: type[OurWorker] = OurWorker,
) -> Iterator[OurWorker]:
    """An installation with the partners of the scenario, and partner 0 to warm it; nothing runs yet."""
    ours = make(broker_url, database_url, folder, scenario.processes)
    with closing(ours.database), closing(ours.broker):
        try:
            with ours.results:
                ours.set_up(scenario.partners, scenario.lines, stub.url)
                yield ours
        finally:
            ours.kill()
            if isinstance(ours.broker, RabbitBroker):
                ours.broker.delete()


def _mapping(partner: int, company: int, at: datetime) -> dict[str, object]:
    """The row of a mapping that was checked at that time, and is complete."""
    addition = Line(partner, company, 0).addition
    check = MappingChecked(
        partner_id=f"p{partner}",
        company_id=f"c{company}",
        changed_at=at,
        correlation_id="speed",
        time=at,
        status="complete",
        cw_company_name=f"Company {company}",
        agreement_name="Managed services",
        addition_name="Security training",
        product="PHIN",
        product_id=1,
        quantity=1,
        billable=True,
        agreement=AgreementTerm(status="Active"),
    )
    return {
        "partner_id": check.partner_id,
        "company_id": check.company_id,
        "changed_at": at,
        "message_id": f"m{addition}",
        "company_name": f"Company {company}",
        "cw_company_id": company,
        "agreement_id": addition,
        "addition_id": addition,
        "rule": "refuse",
        "check_json": check.model_dump_json(),
    }


def _push(partner: int, lines: Iterable[Line]) -> PushRequested:
    return PushRequested(
        partner_id=f"p{partner}",
        correlation_id="speed",
        push_id=str(uuid.uuid4()),
        period=PERIOD,
        requested_at=datetime.now(UTC),
        requested_by="ana@msp.example",
        mode="apply",
        lines=tuple(
            PushLine(company_id=f"c{line.company}", company_name=f"Company {line.company}", billable_users=line.users)
            for line in lines
        ),
    )


def _answers(pushes: Iterable[PushRequested]) -> Iterator[Answer]:
    for push in pushes:
        yield Answer(push.push_id, None)
        for line in push.lines:
            yield Answer(push.push_id, line.company_id)
