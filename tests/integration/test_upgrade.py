"""An upgrade takes over the rows and queues that an earlier version has left."""

from uuid import uuid4

import pika
import pytest
from sqlalchemy import delete, update

from messages import PushCompleted
from store import Database, company_status, completions, line_results, now, pushes, reopening, targets
from store import schema as tables
from store.migrate import upgrade
from tests.support.earlier_version import insert, migrate, stored
from tests.support.samples import PARTNER, push, sync_result
from tests.support.store import accept, claimed, leaving
from worker.messaging.rabbitmq import RabbitBroker
from worker.sync.completion import complete_overlooked
from worker.topology import Topology


def test_a_push_that_was_answered_and_not_completed_is_completed(database: Database) -> None:
    """Its results were to come back by a queue that is gone: its completion is sent, once."""
    event, open_push = push(users={"c-1": 4, "c-2": 5}), push("p-2", {"c-9": 1}, at=1)
    accept(database, event)
    accept(database, open_push)
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), [sync_result(event, "c-1"), sync_result(event, "c-2", "held")])
        tx.execute(delete(tables.outbox))
    complete_overlooked(database)
    complete_overlooked(database)
    with database.begin() as tx:
        completed = completions.of_push(tx, PARTNER, "p-1")
        still_open = pushes.find(tx, PARTNER, "p-2")
    assert isinstance(completed, PushCompleted)
    assert (completed.counts.updated, completed.counts.held) == (1, 1)
    assert leaving(database) == [str(completed.id)]
    assert still_open is not None
    assert still_open.state == "accepted"


def test_results_that_were_to_come_back_are_caught_up(empty_database: Database) -> None:
    """Sync Status has them after the upgrade, unless it has newer ones; and they leave before their completion."""
    answered, older, tried = push("p-2", at=1), push("p-1"), push("p-3", mode="preview", at=2)
    result = sync_result(answered, "c-1", "failed")
    with empty_database.begin() as tx:
        migrate(tx, "0014")
        stored(tx, older, "updated", shown=True)
        stored(tx, answered, "failed", shown=False)
        stored(tx, tried, "preview", shown=False)
        row = {"exchange": "connectwise.sync", "routing_key": "sync.result.v1", "properties_json": "{}"}
        at = answered.requested_at.isoformat() if tx.dialect.name == "postgresql" else str(answered.requested_at)[:19]
        insert(tx, "outbox", message_id="m", not_before=at, body=result.model_dump_json().encode(), **row)
    upgrade(empty_database)
    complete_overlooked(empty_database)
    with empty_database.begin() as tx:
        assert [shown.push_id for shown in company_status.of_partner(tx, PARTNER)] == ["p-2"]
        sent = claimed(tx)
    assert "m" in {row.message_id for row in sent}
    assert ("push.completed.v1", "p-2") not in {(row.routing_key, row.push_id) for row in sent}


def test_a_line_that_was_reported_is_opened_again(database: Database) -> None:
    """A dead letter of before the upgrade can be replayed."""
    event = push()
    accept(database, event)
    with database.partner(PARTNER) as tx:
        targets.settle(tx, PARTNER, [(target, None) for target in targets.unsettled(tx, PARTNER)])
        line_results.record(tx, now(tx), [sync_result(event, "c-1", "failed")])
        tx.execute(update(tables.push_lines).values(reported=True))
    with database.partner(PARTNER) as tx:
        assert reopening.reopen_push(tx, event, now(tx)) == reopening.Reopened([("p-1", "c-1")], [])


@pytest.mark.parametrize("queue", ["connectwise.sync-result.v1", "connectwise.partner-due.v1"])
def test_a_queue_that_nobody_reads_any_more_is_deleted(amqp_url: str, queue: str) -> None:
    """It would keep its messages, or be filled, for ever."""
    prefix = f"test-{uuid4().hex[:8]}."
    broker, name = RabbitBroker(amqp_url, Topology(prefix=prefix)), f"{prefix}{queue}"
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        broker.declare()
        broker.declare()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare(name, passive=True)
    broker.delete()
