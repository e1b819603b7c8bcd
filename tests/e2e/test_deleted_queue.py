"""RabbitMQ takes a worker's consumer away: somebody deleted its queue, or (from 4.3 on) its consumer timeout passed."""

from pathlib import Path

import pika

from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.topology import queue_of


def _consumers(world: World, queue: str) -> int:
    """The number of consumers of a queue; -1 if it is not there."""
    with pika.BlockingConnection(pika.URLParameters(world.broker_url)) as connection:
        try:
            return int(connection.channel().queue_declare(queue, passive=True).method.consumer_count)
        except pika.exceptions.ChannelClosedByBroker:
            return -1


def test_a_queue_that_is_deleted_under_a_worker_is_there_again(
    amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """The worker hears `basic.cancel`, declares the queue anew and consumes; pushes go on without a restart."""
    with World(amqp_url, postgresql_url, tmp_path, companies=1) as world:
        queue = f"{world.settings.queue_prefix}{queue_of('push.requested.v1')}"
        with app.build(world.settings) as worker:
            wait_for(lambda: _consumers(world, queue) == 1, "the consumer")
            with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
                connection.channel().queue_delete(queue)
            wait_for(lambda: _consumers(world, queue) == 1, "the queue and its consumer")
            connection_event, mapped = world.connected("p1"), world.mapped("p1", 1)
            push = world.push("p1", {1: 7}, connection=connection_event, mappings=[mapped])
            world.publish(connection_event, mapped, push)
            wait_for(lambda: world.state_of(push) == "completed", "the push")
            assert world.quantity("p1", 100_001) == 7
            assert worker.readiness.troubles == {}
