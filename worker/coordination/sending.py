"""Events leave as the platform's do: by a publisher to RabbitMQ, or into the outbox if there is no broker."""

from collections.abc import Sequence
from typing import Self

from messages import EXCHANGE_IN, Message, Publisher
from store import Database
from worker.bootstrap import open_broker, publish
from worker.settings import Settings


class Sender:
    """Sends events, from any thread; a context manager. It connects to RabbitMQ at the first event."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._publisher: Publisher | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Return once they are safe. Raises PublishError, UnroutableMessage, BrokerUnavailable or StoreError."""
        if self._settings.is_embedded:
            publish(open_broker(self._settings, self._database), messages)
        else:
            self._publisher = self._publisher or self._open()
            self._publisher.publish_many(messages)

    def close(self) -> None:
        """Disconnect."""
        if self._publisher is not None:
            self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Publisher:
        url = self._settings.broker_url.get_secret_value()
        exchange = f"{self._settings.queue_prefix}{EXCHANGE_IN}"
        return Publisher(url, exchange=exchange, ca_file=self._settings.broker_ca_file)
