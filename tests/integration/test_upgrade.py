"""What an earlier version has left is taken over."""

from uuid import uuid4

import pika
import pytest
from sqlalchemy import delete

from messages import PushCompleted
from store import Database, company_status, completions, line_results, now, pushes
from store import schema as tables
from tests.support.samples import PARTNER, push, sync_result
from tests.support.store import accept, leaving
from worker.messaging.rabbitmq import RabbitBroker
from worker.sync.completion import complete_overlooked
from worker.topology import Topology


def test_a_push_that_was_answered_and_not_completed_is_completed(database: Database) -> None:
    """Its results were to come back by a queue that is gone: its completion is sent, once, and Sync Status is right."""
    event, open_push = push(users={"c-1": 4, "c-2": 5}), push("p-2", {"c-9": 1}, at=1)
    accept(database, event)
    accept(database, open_push)
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [sync_result(event, "c-1"), sync_result(event, "c-2", "held")])
        tx.execute(delete(tables.company_status))
        tx.execute(delete(tables.outbox))
    complete_overlooked(database)
    complete_overlooked(database)
    with database.begin() as tx:
        completed = completions.of_push(tx, PARTNER, "p-1")
        shown = [(result.company_id, result.status) for result in company_status.of_partner(tx, PARTNER)]
        still_open = pushes.find(tx, PARTNER, "p-2")
    assert isinstance(completed, PushCompleted)
    assert (completed.counts.updated, completed.counts.held) == (1, 1)
    assert shown == [("c-1", "updated"), ("c-2", "held")]
    assert leaving(database) == [str(completed.id)]
    assert still_open is not None
    assert still_open.state == "accepted"


def test_a_queue_that_nobody_reads_any_more_is_deleted(amqp_url: str) -> None:
    """Results would fill it for ever, as it is still bound to their exchange."""
    prefix = f"test-{uuid4().hex[:8]}."
    broker, name = RabbitBroker(amqp_url, Topology(prefix=prefix)), f"{prefix}connectwise.sync-result.v1"
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        broker.declare()
        broker.declare()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare(name, passive=True)
    broker.delete()
