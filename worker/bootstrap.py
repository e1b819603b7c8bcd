"""The store, broker and seal keys are opened by the settings, without a worker, which most commands do not need."""

from collections.abc import Sequence

from messages import KeyRing, Message
from store import Database, outbox
from store.database import POOL_SIZE
from worker.health import Readiness
from worker.messaging.broker import Broker, BrokerUnavailable, Fault
from worker.messaging.dead_letters import DeadLetters
from worker.messaging.embedded import EmbeddedBroker
from worker.settings import Settings
from worker.topology import Topology


class UnroutableMessage(Exception):
    """No queue takes the message."""


def open_database(settings: Settings, connections: int = POOL_SIZE) -> Database:
    """Open the store that the settings name."""
    return Database(settings.database_url.get_secret_value(), connections)


def open_broker(settings: Settings, database: Database, readiness: Readiness | None = None) -> Broker:
    """Make the broker that the settings name; it updates `readiness` while it consumes."""
    topology = Topology(prefix=settings.queue_prefix, results_queue=settings.results_queue)
    if settings.is_embedded:
        return EmbeddedBroker(database, topology, DeadLetters(key_ring(settings)).unsealed, readiness)
    from worker.messaging.rabbitmq import RabbitBroker

    return RabbitBroker(settings.broker_url.get_secret_value(), topology, settings.broker_ca_file, readiness=readiness)


def key_ring(settings: Settings) -> KeyRing:
    """Return the private seal keys; an empty ring if none are set."""
    return KeyRing.parse(settings.seal_keys.get_secret_value()) if settings.seal_keys else KeyRing({})


def publish(broker: Broker, messages: Sequence[Message]) -> None:
    """Publish messages. Raises UnroutableMessage, BrokerUnavailable or StoreError."""
    rows = [outbox.row_of(message) for message in messages]
    for refusal in broker.publish(rows):
        if refusal is not None:
            raise BrokerUnavailable(refusal.why) if refusal.fault is Fault.BROKER else UnroutableMessage(refusal.why)
