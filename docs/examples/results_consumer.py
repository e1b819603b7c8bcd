"""Print the worker's answers from the broker of BROKER_URL, until Ctrl-C: python results_consumer.py.

RESULTS_QUEUE is the worker's, behind its QUEUE_PREFIX: a durable queue, which keeps what comes while nobody reads.
"""

import os
from contextlib import suppress
from typing import Any

import pika

from messages import ConnectionChecked, ContractError, MappingChecked, Message, PushCompleted, SyncResult, decode

RESULTS_QUEUE = "phin.connectwise-results.v1"

seen: set[str] = set()  # a platform keeps them in its database, in the transaction that keeps the result


def take(message: Message) -> None:
    """Show a message once: one that comes again has the same id."""
    if str(message.id) in seen:
        return
    seen.add(str(message.id))
    match message:
        case SyncResult():
            why = f": {message.problem.title}. {message.problem.fix}" if message.problem else ""
            print(message.push_id, message.company_id, f"{message.status}{why}", flush=True)
        case PushCompleted():
            totals = message.totals
            written = f"{totals.written.companies} of {totals.imported.companies} written"
            print(message.push_id, message.status, written, flush=True)
        case ConnectionChecked() | MappingChecked():
            print(message.type, message.status, flush=True)


def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - pika's
    """Acknowledge only what is kept, or cannot be read."""
    with suppress(ContractError):  # a type or version that this program does not know
        take(decode(body, type=properties.type, content_type=properties.content_type))
    channel.basic_ack(method.delivery_tag)


def main(url: str, queue: str) -> None:
    """Consume until somebody ends it."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(queue, on_message)
        with suppress(KeyboardInterrupt):
            channel.start_consuming()


if __name__ == "__main__":
    main(os.environ["BROKER_URL"], os.environ.get("RESULTS_QUEUE", RESULTS_QUEUE))
