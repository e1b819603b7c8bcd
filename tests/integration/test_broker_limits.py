"""The limits of RabbitMQ 4.1, set on a server of the test's own: frames of 8 KiB, messages of 16 MiB."""

from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from messages import ContractError, Publisher
from messages.wire import MAX_BODY
from tests.support.letters import Letters
from tests.support.own_servers import OwnRabbitMQ, own
from tests.support.samples import mapping_changed
from tests.support.waiting import wait_for
from tests.support.world import World

LIMITS = f"frame_max = 8192\nmax_message_size = {MAX_BODY}\n"
MANY = 3_000


@pytest.fixture(scope="module")
def narrow() -> Iterator[OwnRabbitMQ]:
    """A RabbitMQ with the smallest frames that 4.1 lets a client ask for, and its largest message."""
    with own(OwnRabbitMQ, limits=LIMITS) as server:
        yield server


def test_a_large_push_passes_in_small_frames(narrow: OwnRabbitMQ, postgresql_url: str, tmp_path: Path) -> None:
    """The platform's publisher, the worker and its results work with whatever frames RabbitMQ grants."""
    with World(narrow.url, postgresql_url, tmp_path) as world:
        world.start_worker()
        connection, mapped = world.connected("p1"), world.mapped("p1", 1)
        counts = dict.fromkeys(range(1, MANY + 1), 5)
        push = world.push("p1", counts, connection=connection, mappings=[mapped])
        assert len(push.model_dump_json()) > 20 * 8192
        world.publish(connection, mapped, push)
        platform = world.platform
        assert platform is not None
        wait_for(lambda: push.push_id in platform.ids_of("push.completed.v1"), "the push's completion", timeout=120)
        statuses = [answer.status for answer in world.answers(push).values() if answer]
        assert (statuses.count("updated"), statuses.count("skipped")) == (1, MANY - 1)


def test_the_largest_message_is_taken_and_a_larger_one_refused_by_all(
    narrow: OwnRabbitMQ, postgresql_url: str, tmp_path: Path
) -> None:
    """One of 16 MiB reaches the store; of one byte more the publisher says so, and RabbitMQ does as well."""
    with World(narrow.url, postgresql_url, tmp_path) as world:
        world.start_worker()
        exchange = f"{world.settings.queue_prefix}phin.billing"
        with pika.BlockingConnection(pika.URLParameters(narrow.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(exchange, "push.requested.v1", b"x" * MAX_BODY, mandatory=True)
            (letter,) = Letters(world).wait()
            assert (letter.reason, letter.error_type, len(letter.body)) == ("contract", "not_json", MAX_BODY)
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="larger than configured max size"):
                channel.basic_publish(exchange, "push.requested.v1", b"x" * (MAX_BODY + 1), mandatory=True)
        huge = mapping_changed().model_copy(update={"company_name": "x" * MAX_BODY})
        with (
            Publisher(narrow.url, exchange=exchange) as publisher,
            pytest.raises(ContractError, match="at most 16777216"),
        ):
            publisher.publish(huge)
