"""Celery: a pool of threads, acknowledgement after the work, a quorum queue, results with confirms."""

from typing import Any

from celery import Celery
from kombu.entity import Queue

from tests.benchmarks.peers.in_threads import sync
from tests.benchmarks.peers.line import (
    BROKER_URL,
    CONCURRENCY,
    PREFETCH,
    RESULT_TYPE,
    RESULTS_QUEUE,
    WORK_QUEUE,
    PeerLine,
)

app = Celery("peer", broker=BROKER_URL)
app.conf.update(
    task_queues=[Queue(WORK_QUEUE, queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue=WORK_QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure_or_timeout=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH // CONCURRENCY,
    worker_enable_remote_control=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


@app.task(name="sync_line", autoretry_for=(Exception,), retry_backoff=True, max_retries=20)
def sync_line(**fields: Any) -> None:
    """Sync one line, and publish its result."""
    line = PeerLine(**fields)
    before = sync(line)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            line.result(before),
            routing_key=RESULTS_QUEUE,
            content_type="application/json",
            content_encoding="utf-8",
            type=RESULT_TYPE,
            delivery_mode=2,
            mandatory=True,
            retry=True,
        )
