"""A worker is composed here from settings. This is also the way to embed the worker in another program.

with build(settings) as app:      # starts; drains at the end
    app.publish(message)
"""

from collections.abc import Callable, Sequence
from functools import partial
from os import getpid
from socket import gethostname
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self
from uuid import uuid4

import structlog

from cwclient import AddressPolicy, CallBudget
from cwclient.transport import Transport
from messages import Message
from store import (
    Database,
    SchemaOutdated,
    StoreError,
    StorePooled,
    StoreUnavailable,
    due_watch,
    leases,
    migrate,
    workers,
)
from store.connections import ConnectionVersion
from worker import logs, memory, metrics, tracing
from worker.bootstrap import key_ring, open_broker, open_database, publish
from worker.clock import Clock
from worker.connectwise.api_version import ApiVersions, Discovery
from worker.connectwise.rate_limit import RequestBudget
from worker.connectwise.session import ConnectWiseSession
from worker.handlers.context import Context
from worker.health import Readiness
from worker.messaging.broker import Broker
from worker.messaging.dead_letters import DeadLetters
from worker.messaging.deferred import Deferred
from worker.messaging.dispatcher import Dispatcher
from worker.messaging.fair_share import FairShare
from worker.messaging.intake import Intake
from worker.messaging.rates import PartnerRates
from worker.messaging.relay import Relay
from worker.messaging.store_outage import StoreOutage
from worker.messaging.store_retry import StoreRetry
from worker.rules.quantities import JumpLimits
from worker.settings import Settings
from worker.sync import completion
from worker.sync.call_pool import CallPool
from worker.sync.context import CALLS_AT_ONCE, RunContext
from worker.sync.partner_pool import PartnerPool

DRAIN_SECONDS = 25.0
HEARTBEAT_SECONDS, TROUBLE_SECONDS = 5.0, 1.0
ORPHANS_SECONDS = 60.0
TABLES_SECONDS = 2.0

log = structlog.get_logger()


class App:
    """One worker: consumer, handler pools, partner pool, relay and heartbeat. `start`, then `drain`."""

    def __init__(self, settings: Settings, database: Database, broker: Broker, readiness: Readiness) -> None:
        settings.require("client_id", "seal_keys")
        self.database, self.broker, self.readiness = database, broker, readiness
        self._id = str(uuid4())
        self._stop = Event()
        self._clock = Clock()
        self._transports = _Transports(settings, self._clock)
        self._calls = CallPool(settings.partners_at_once * CALLS_AT_ONCE)
        self.tools = RunContext(
            database=database,
            calls=self._calls,
            connect=self._transports.connect,
            call_budget=self._transports.budget,
            retry_for=settings.retry_for,
            unusual=JumpLimits(settings.big_jump_share, settings.big_jump_count),
        )
        letters, rates = DeadLetters(key_ring(settings), settings.queue_prefix), PartnerRates()
        self._outage = StoreOutage(partial(self._heartbeat, ended=False), self._stop, readiness)
        store_retry = StoreRetry(self.tools.draining, self._outage, readiness)
        self.dispatcher = Dispatcher(
            Context(database), letters, self.tools.draining, store_retry, self._clock, rates.charge_results
        )
        fair_share = FairShare(rates, database, letters.sealed, self.dispatcher.handle, store_retry)
        self._intake = Intake(fair_share, self.dispatcher.handle)
        self._partners = PartnerPool(self.tools, settings.partners_at_once, readiness)
        waiting = Deferred(database, broker.topology, letters.unsealed, readiness, rates.partners_over_rate)
        # A connection of its own: while all others wait for a lock, the worker still has a heartbeat.
        self._heartbeat_database = open_database(settings, connections=1)
        relay = Relay(database, broker, readiness, letters.unsealed)
        self._stop_relay, self._orphans_at = Event(), 0.0
        self._consumer = _thread("consumer", self._serve)
        self._beside = [
            _thread("heartbeat", self._beat),
            _thread("due work", due_watch.watch, database, self._stop),
            _thread("partners", self._partners.run, self._stop),
            _thread("deferred", waiting.consume, self._intake.deferred.put, self._stop, self._outage.is_on),
        ]
        self._relay = None if settings.is_embedded else _thread("relay", relay.run, self._stop_relay)

    def start(self) -> None:
        """Start working. A database or broker that is away is waited for. Raises SchemaOutdated or StorePooled."""
        try:
            migrate.check(self.database)
        except StorePooled:
            raise
        except StoreError:
            pass
        self._consumer.start()
        log.info("worker.started")

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Take no new work and let calls under way finish. Returns False if that took longer than `seconds`."""
        until = monotonic() + seconds
        log.info("worker.draining")
        self.tools.draining.set()
        self._stop.set()
        self.database.wakeups.ring_all()
        in_time = _join([self._consumer, *self._beside], until)
        in_time = self._intake.stop(until) and in_time
        in_time = self._partners.stop(until) and in_time
        self._stop_relay.set()
        self.database.wakeups.ring_all()
        in_time = _join([self._relay] if self._relay else [], until) and in_time
        self._calls.shutdown(wait=in_time, cancel_futures=True)
        self._heartbeat_database.close()
        self.database.close()
        self.broker.close()
        self._transports.close()
        log.info("worker.stopped", in_time=in_time)
        return in_time

    def publish(self, *messages: Message) -> None:
        """Publish messages. Raises UnroutableMessage, BrokerUnavailable or StoreError."""
        publish(self.broker, messages)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    def _serve(self) -> None:
        """Serve partners, relay and consume, once the tables are there."""
        while not self._tables_are_there():
            self.readiness.tick("broker")
            if self._stop.wait(TABLES_SECONDS):
                return
        for thread in (*self._beside, self._relay):
            if thread is not None:
                thread.start()
        self.broker.consume(self._intake.deliver, self._stop, self._outage.is_on)

    def _tables_are_there(self) -> bool:
        try:
            migrate.check(self.database)
            with self.database.begin() as tx:
                self._clock.read(tx)
        except Exception as error:  # noqa: BLE001 - readiness shows it
            self.readiness.trouble("store", error, expected=isinstance(error, StoreError | SchemaOutdated))
            return False
        self.readiness.fine("store")
        return True

    def _beat(self) -> None:
        """Store heartbeats, give back memory, and once a minute look for partners that nobody woke."""
        ended = False
        while True:
            self.readiness.tick("store")
            try:
                self._heartbeat(ended=ended)
                if not ended and monotonic() >= self._orphans_at:
                    self._orphans_at = monotonic() + ORPHANS_SECONDS
                    self._wake_orphaned()
                self.readiness.fine("store")
            except StoreUnavailable as error:
                self._outage.begin(error)
            except Exception as error:  # noqa: BLE001 - readiness shows it
                self.readiness.trouble("store", error, expected=isinstance(error, StoreError))
            if ended:
                return
            # A trouble that has passed, above all that of a worker that has just begun, is soon not shown any more.
            pause = min(TROUBLE_SECONDS, HEARTBEAT_SECONDS) if self.readiness.troubles else HEARTBEAT_SECONDS
            ended = self._stop.wait(pause)
            memory.give_back()

    def _wake_orphaned(self) -> None:
        with self._heartbeat_database.begin() as tx:
            orphaned = leases.wake_orphaned(tx)
        if orphaned:
            log.error("partners.orphaned", partners=orphaned)
        completion.complete_overlooked(self._heartbeat_database)

    def _heartbeat(self, *, ended: bool) -> None:
        with self._heartbeat_database.begin() as tx:
            if ended:
                workers.forget(tx, self._id)
            else:
                self._clock.read(tx)
                workers.heartbeat(tx, self._id, gethostname(), getpid(), str(self.readiness) or None, self._clock.ahead)
        metrics.HEARTBEAT.set_to_current_time()


def build(settings: Settings) -> App:
    """Make a worker from settings; nothing is started. Raises SettingsError if it could not work.

    A program that embeds it and has not configured structlog gets logs as the settings say.
    """
    if not structlog.is_configured():
        # structlog's default shows the variables of each frame of a traceback, and a key may be among them.
        logs.configure(settings.log_level, settings.log_format)
    database, readiness = open_database(settings), Readiness()
    return App(settings, database, open_broker(settings, database, readiness), readiness)


def _thread(name: str, run: Callable[..., None], *args: object) -> Thread:
    return Thread(target=run, args=args, name=name, daemon=True)


def _join(threads: Sequence[Thread], until: float) -> bool:
    """Wait for threads that were started. Returns False if some still run at this monotonic time."""
    started = [thread for thread in threads if thread.ident is not None]
    for thread in started:
        thread.join(max(0.0, until - monotonic()))
    return not any(thread.is_alive() for thread in started)


def _observe(method: str, url: str, status: int | None, error: str, seconds: float) -> None:
    """Count and trace a request to ConnectWise."""
    metrics.count_call(method, status, error, seconds)
    tracing.spans().request(method, url, status, error, seconds)


class _Transports:
    """HTTP connections, pooled by certificate authority, and the sessions that use them."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self.budget = CallBudget(total=settings.call_timeout)
        self._policy = AddressPolicy(settings.allow_private_hosts)
        self._client_id, self._api_version = settings.client_id or "", settings.api_version
        self._keys = key_ring(settings)
        self._by_authority: dict[str | None, Transport] = {}
        self._lock = Lock()

    def connect(self, connection: ConnectionVersion, budget: RequestBudget) -> ConnectWiseSession:
        """Make a session of a partner's ConnectWise; nothing is called yet."""
        return ConnectWiseSession(
            connection=connection,
            client_id=self._client_id,
            open_transport=lambda: self._transport(connection.ca_bundle),
            key_ring=self._keys,
            clock=self._clock.now,
            discovery=Discovery(
                connection.base_url, connection.base_url_at, connection.api_version, connection.answered
            ),
            budget=budget,
            versions=ApiVersions(self._api_version, connection.api_version),
        )

    def _transport(self, ca_bundle: str | None) -> Transport:
        """Return the pool for this certificate authority. Raises CertificateRefused if it cannot be read."""
        with self._lock:
            if ca_bundle not in self._by_authority:
                self._by_authority[ca_bundle] = Transport(self._policy, self.budget, ca_bundle, _observe)
            return self._by_authority[ca_bundle]

    def close(self) -> None:
        """Close all connections."""
        for transport in self._by_authority.values():
            transport.close()
