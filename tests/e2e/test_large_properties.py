"""Properties that RabbitMQ takes and cannot take again with anything added: refused at the door, kept, answered."""

import json
from contextlib import closing
from pathlib import Path

import pika

from messages import PushCompleted, encode
from store.amqp_properties import as_sent
from tests.support.letters import Letters
from tests.support.waiting import wait_for
from tests.support.world import World

LARGEST = 130_996
"""Bytes of a header that just fits into a frame with the name and the table around it."""

PUSHES = 8
"""More than a partner's share, so that the last ones would be deferred."""


def test_properties_over_64_kib_are_refused_kept_and_not_replayed(
    amqp_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    """Each push is one dead letter with all that came and one refusal that says why; a replay says why it cannot be."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        platform = world.platform
        assert platform is not None
        headers = {"big": "x" * LARGEST}
        sent = [encode(world.push("p1", {1: 5})).body for _ in range(PUSHES)]
        with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for body in sent:
                exchange = f"{world.settings.queue_prefix}phin.billing"
                channel.basic_publish(exchange, "push.requested.v1", body, pika.BasicProperties(headers=headers))
            # RabbitMQ adds to the headers of what it delivers again.
            taken, _, _ = channel.basic_get(f"{world.settings.queue_prefix}connectwise.push-requested.v1")
            channel.basic_reject(taken.delivery_tag, requeue=True)
        worker, letters = world.start_worker(), Letters(world)
        kept = letters.wait(PUSHES)
        assert sorted(letter.body for letter in kept) == sorted(sent)
        assert all(as_sent(letter.properties)["headers"] == headers for letter in kept)
        assert {(letter.reason, letter.error_type) for letter in kept} == {("contract", "too_large")}
        assert "AMQP properties have 13" in kept[0].error
        ids = {json.loads(body)["push_id"] for body in sent}
        wait_for(lambda: set(platform.ids_of("push.completed.v1")) == ids, "the refusals")
        answers = [one for one in platform.received if isinstance(one, PushCompleted)]
        assert {answer.status for answer in answers} == {"refused"}

        for options, told in (("--dry-run",), "Would replay 0."), ((), "Replayed 0:"):
            done = letters.command("replay", "--all", *options)
            assert told in done.stdout
            assert f"{PUSHES} cannot be replayed, as their AMQP properties have more than 65,536 bytes" in done.stderr
        assert done.returncode == 1
        assert {letter.state for letter in letters.all()} == {"open"}

        push = world.push("p1", {1: 5})
        world.publish(world.connected("p1"), world.mapped("p1", 1), push)
        wait_for(lambda: world.state_of(push) == "completed", "a good push after them")
        assert worker.poll() is None
