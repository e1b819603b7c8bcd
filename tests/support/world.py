"""A whole installation for a test: simulator, store, broker, workers in processes of their own, and the platform."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sqlalchemy import select

from cwclient.simulator import SimulatorServer
from messages import (
    EXCHANGE_IN,
    BillingPeriod,
    ConnectionChanged,
    KeyRing,
    MappingChanged,
    Message,
    PushLine,
    PushRequested,
    SyncResult,
    generate_keypair,
    seal,
)
from messages.values import MAX_COUNT
from store import Database, line_results, migrate, pushes
from store.schema import ledger
from tests.support.commands import run
from tests.support.forked import FORK_SERVER, ROOT, Forked
from tests.support.platform import Platform, nobody_reads
from tests.support.waiting import within
from worker.bootstrap import open_broker, publish
from worker.messaging.rabbitmq import RabbitBroker
from worker.setting_names import PREFIX
from worker.settings import Settings, load

NOVEMBER = BillingPeriod.parse("2026-11")
PRIVATE_KEY = "private-key-of-the-test"
HOOKED_WORKER = "tests.support.hooked_worker"


def now() -> datetime:
    """The platform's clock."""
    return datetime.now(UTC)


def tenant(partner_id: str, companies: int, quantity: float = 1.0, private_key: str = PRIVATE_KEY) -> dict[str, Any]:
    """A simulated ConnectWise tenant. Company n has agreement 1000+n with additions 100000+n and 200000+n."""
    numbers = range(1, companies + 1)
    return {
        "company_identifier": f"cw-{partner_id}",
        "keys": [{"public": "public", "private": private_key}],
        "companies": [{"id": n, "name": f"Company {n}"} for n in numbers],
        "agreements": [{"id": 1000 + n, "company": {"id": n}, "name": f"Agreement {n}"} for n in numbers],
        "additions": [
            {"id": base + n, "agreementId": 1000 + n, "quantity": quantity}
            for base in (100_000, 200_000)
            for n in numbers
        ],
    }


@dataclass
class World:
    """A context manager. Everything in the broker has a prefix of its own and is removed at the end."""

    broker_url: str
    database_url: str
    folder: Path
    partners: Sequence[str] = ("p1",)
    companies: int = 5
    call_timeout: float = within(5.0)
    retry_for: float = 3600.0
    big_jump_count: int = MAX_COUNT
    has_platform: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _workers: "list[Forked | subprocess.Popen[bytes]]" = field(default_factory=list)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        document = {"tenants": [tenant(partner, self.companies) for partner in self.partners]}
        self.simulator = self._stack.enter_context(SimulatorServer(document))
        self.keys = generate_keypair()
        self.settings: Settings = load(
            {
                "broker_url": self.broker_url,
                "database_url": self.database_url,
                "client_id": "00000000-0000-0000-0000-000000000001",
                "seal_keys": self.keys.private,
                "allow_private_hosts": "127.0.0.1",
                "queue_prefix": f"test-{uuid.uuid4().hex[:8]}.",
                **({} if self.has_platform else {"results_queue": ""}),
                "call_timeout": self.call_timeout,
                "retry_for": self.retry_for,
                # Whatever a test pushes is usual, unless it is about that.
                "big_jump_count": self.big_jump_count,
                "log_level": "info",
            }
        )
        self.database = Database(self.database_url)
        self._stack.callback(self.database.close)
        migrate.upgrade(self.database)
        self.broker = open_broker(self.settings, self.database)
        self.broker.declare()
        self.platform: Platform | None = None
        if isinstance(self.broker, RabbitBroker):
            self._stack.callback(self.broker.delete)
            if not self.has_platform:
                self._stack.enter_context(nobody_reads(self.broker_url, self.broker.topology))
        if isinstance(self.broker, RabbitBroker) and self.has_platform:
            prefix, queue = self.settings.queue_prefix, self.settings.results_queue
            platform = Platform(self.broker_url, f"{prefix}{queue}", f"{prefix}{EXCHANGE_IN}")
            self.platform = self._stack.enter_context(platform)
        self._stack.callback(self.broker.close)
        self._stack.callback(self.end_workers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # --- workers

    @property
    def environment(self) -> dict[str, str]:
        """The settings as a worker's process gets them."""
        given = self.settings
        values = {
            "BROKER_URL": given.broker_url.get_secret_value(),
            "DATABASE_URL": given.database_url.get_secret_value(),
            "CLIENT_ID": given.client_id or "",
            "SEAL_KEYS": self.keys.private,
            "ALLOW_PRIVATE_HOSTS": ",".join(given.allow_private_hosts),
            "QUEUE_PREFIX": given.queue_prefix,
            "CALL_TIMEOUT": str(given.call_timeout),
            "RETRY_FOR": str(given.retry_for.total_seconds()),
            "BIG_JUMP_COUNT": str(given.big_jump_count),
            "LOG_LEVEL": given.log_level,
            "RESULTS_QUEUE": given.results_queue or "",
            "STATUS_ADDRESS": "",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return kept | {f"{PREFIX}{name}": value for name, value in values.items()}

    def start_worker(self, point: str = "none") -> Forked:
        """Start a worker process; `point` is where it strikes itself, once (see hooked_worker)."""
        given, log = self._arguments(point), self._log()
        worker = FORK_SERVER.start(HOOKED_WORKER, given, folder=ROOT, environment=self.environment, stderr=log)
        self._workers.append(worker)
        return worker

    def start_worker_alone(self) -> "subprocess.Popen[bytes]":
        """Start a worker process that loads all that it needs itself, so that its memory is its own."""
        command = [sys.executable, "-m", HOOKED_WORKER, *self._arguments("none")]
        worker = subprocess.Popen(command, env=self.environment, stderr=self._log(), cwd=ROOT)
        self._workers.append(worker)
        return worker

    def _arguments(self, point: str) -> list[str]:
        return [point, str(self.folder / f"struck-{point}")]

    def _log(self) -> IO[bytes]:
        return self._stack.enter_context((self.folder / f"worker-{len(self._workers)}.log").open("wb"))

    def end_workers(self) -> None:
        """Kill those that run."""
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def ended_workers(self) -> list[int]:
        """The exit codes of those that have ended."""
        return [code for worker in self._workers if (code := worker.poll()) is not None]

    @property
    def given(self) -> dict[str, str]:
        """The settings as a command of a test gets them."""
        return {name.removeprefix(PREFIX): value for name, value in self.environment.items() if name.startswith(PREFIX)}

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`phin-connectwise …`, run to its end in this installation."""
        return run(*arguments, folder=self.folder, settings=self.given)

    # --- the platform's side

    def publish(self, *messages: Message) -> None:
        """Send messages as the platform does."""
        publish(self.broker, messages)

    def connected(self, partner: str, private_key: str = PRIVATE_KEY) -> ConnectionChanged:
        """A connection.changed of now."""
        company_identifier, site_url = f"cw-{partner}", self.simulator.url
        seal_key = KeyRing.parse(self.keys.private).seal_key
        assert self.simulator.ca_file is not None
        return ConnectionChanged(
            partner_id=partner,
            correlation_id="test",
            changed_at=now(),
            site_url=site_url,
            company_identifier=company_identifier,
            public_key="public",
            sealed_private_key=seal(
                private_key,
                public_key="public",
                partner_id=partner,
                company_identifier=company_identifier,
                site_url=site_url,
                seal_key=seal_key,
            ),
            ca_bundle=self.simulator.ca_file.read_text(),
        )

    def mapped(self, partner: str, number: int, base: int = 100_000) -> MappingChanged:
        """A mapping.changed of now: company cN to its addition base+N."""
        return MappingChanged(
            partner_id=partner,
            correlation_id="test",
            changed_at=now(),
            company_id=f"c{number}",
            company_name=f"Company {number}",
            cw_company_id=number,
            agreement_id=1000 + number,
            addition_id=base + number,
        )

    def push(
        self,
        partner: str,
        counts: dict[int, int],
        *,
        connection: ConnectionChanged | None = None,
        mappings: Iterable[MappingChanged] = (),
        period: BillingPeriod = NOVEMBER,
    ) -> PushRequested:
        """A push.requested of now, that names the versions which its sender saw."""
        seen = {mapping.company_id: mapping.changed_at for mapping in mappings}
        return PushRequested(
            partner_id=partner,
            correlation_id="test",
            push_id=str(uuid.uuid4()),
            period=period,
            requested_at=now(),
            requested_by="ana@msp.example",
            mode="apply",
            connection_changed_at=connection.changed_at if connection else None,
            lines=tuple(
                PushLine(
                    company_id=f"c{number}",
                    company_name=f"Company {number}",
                    billable_users=users,
                    mapping_changed_at=seen.get(f"c{number}"),
                )
                for number, users in counts.items()
            ),
        )

    # --- what can be seen

    def state_of(self, push: PushRequested) -> str | None:
        """The push's state in the store."""
        with self.database.begin() as tx:
            found = pushes.find(tx, push.partner_id, push.push_id)
        return found.state if found else None

    def answers(self, push: PushRequested) -> dict[str, SyncResult | None]:
        """The newest answer of each line, by company."""
        with self.database.begin() as tx:
            return {
                company: answer for company, _, _, answer in line_results.of_push(tx, push.partner_id, push.push_id)
            }

    def quantity(self, partner: str, addition_id: int) -> float | None:
        """The quantity that the simulated ConnectWise holds."""
        return self.simulator.state.quantity(f"cw-{partner}", addition_id)

    def writes(self, partner: str | None = None) -> list[dict[str, Any]]:
        """The PATCH requests that were applied, oldest first."""
        records: list[Any] = self.simulator.log
        return [
            dict(record)
            for record in records
            if record["method"] == "PATCH"
            and record["quantity_after"] is not None
            and (partner is None or record["tenant"] == f"cw-{partner}")
        ]

    def ledger(self) -> list[Any]:
        """All rows of the ledger, oldest first."""
        with self.database.begin() as tx:
            return list(tx.execute(select(ledger).order_by(ledger.c.id)))
