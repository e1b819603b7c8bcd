"""Dramatiq: threads, acknowledgement after the work (its default), a quorum queue, results with confirms."""

from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from tests.benchmarks.peers.in_threads import sync
from tests.benchmarks.peers.line import BROKER_URL, RESULT_TYPE, RESULTS_QUEUE, WORK_QUEUE, PeerLine


class QuorumBroker(RabbitmqBroker):
    """Declares quorum queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=BROKER_URL, confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=WORK_QUEUE, max_retries=20)
def sync_line(**fields: Any) -> None:
    """Sync one line, and publish its result."""
    line = PeerLine(**fields)
    before = sync(line)
    broker.channel.basic_publish(
        exchange="",
        routing_key=RESULTS_QUEUE,
        body=line.result(before),
        properties=pika.BasicProperties(type=RESULT_TYPE, content_type="application/json", delivery_mode=2),
        mandatory=True,
    )
