"""Messages that are not ours: kept with their reason, byte for byte, and never in the way of the others."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest
from sqlalchemy import select

from messages import PushCompleted, encode
from store.schema import dead_letters
from tests.support.reverting import revert_of
from tests.support.waiting import wait_for
from tests.support.world import World


class Milliseconds:
    """A time that no reader of AMQP 0-9-1 can make a date of."""


class Nested:
    """Lists within each other, so deep that the library reads them and Python's JSON does not write them."""


NOT_OURS: list[tuple[bytes, dict[str, str]]] = [
    (b"", {}),
    (b"\x00\xff\xfe not text", {}),
    (b"{", {}),
    (b"[1, 2]", {}),
    (b'{"a": NaN}', {}),
    (b"[" * 50_000, {}),
    (b'{"type": "push.requested.v9"}', {}),
    (b'{"type": "invoice.paid.v1"}', {}),
    (b'{"type": "push.requested.v1"}', {"type": "mapping.changed.v1"}),
    (b'{"type": "push.requested.v1"}', {"content_type": "text/plain"}),
    ("\N{SNOWMAN}".encode("utf-16"), {"content_encoding": "utf-8"}),
]


def test_what_is_not_ours_is_kept_and_stops_nothing(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """Every message that cannot be read is a dead letter with its very bytes; a good push among them is served."""
    with World(amqp_url, postgresql_url, tmp_path) as world, _channel(amqp_url) as channel:
        queue = f"{world.settings.queue_prefix}connectwise.push-requested.v1"
        for body, properties in NOT_OURS:
            channel.basic_publish("", queue, body, pika.BasicProperties(message_id="x", **properties))
        push = world.push("p1", {1: 5})
        world.publish(world.connected("p1"), world.mapped("p1", 1), push)
        world.start_worker()
        wait_for(lambda: world.state_of(push) == "completed", "the good push")
        wait_for(lambda: len(_bodies(world)) == len(NOT_OURS), "the dead letters")
        assert sorted(_bodies(world)) == sorted(body for body, _ in NOT_OURS)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(pika.BasicProperties(message_id=b"\xff\xfe"), id="message id that is not UTF-8"),
        pytest.param(pika.BasicProperties(headers={"sent_at": Milliseconds()}), id="time in milliseconds"),
        pytest.param(pika.BasicProperties(headers={"deep": Nested()}), id="600 lists within each other"),
    ],
)
def test_properties_that_cannot_be_read_stop_nothing(
    amqp_url: str,
    postgresql_url: str,
    tmp_path: Path,
    properties: pika.BasicProperties,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sender's broken header is a dead letter like any other, and the consumer lives on."""
    encode_value = pika.data.encode_value

    def encode_broken(pieces: list[bytes], value: object) -> int:
        if not isinstance(value, Milliseconds | Nested):
            return int(encode_value(pieces, value))
        broken = struct.pack(">cQ", b"T", 1_700_000_000_000)
        if isinstance(value, Nested):
            broken = b"V"
            for _ in range(600):
                broken = struct.pack(">cI", b"A", len(broken)) + broken
        pieces.append(broken)
        return len(broken)

    monkeypatch.setattr(pika.data, "encode_value", encode_broken)
    with World(amqp_url, postgresql_url, tmp_path) as world, _channel(amqp_url) as channel:
        world.start_worker()
        channel.basic_publish("", f"{world.settings.queue_prefix}connectwise.mapping-changed.v1", b"{}", properties)
        wait_for(lambda: _bodies(world) == [b"{}"], "the dead letter")
        push = world.push("p1", {1: 5})
        world.publish(world.connected("p1"), world.mapped("p1", 1), push)
        wait_for(lambda: world.state_of(push) == "completed", "a good push after it")


@pytest.mark.parametrize("name", ["push_id", "revert_id"])
def test_a_push_that_can_be_addressed_is_refused_aloud(
    amqp_url: str, postgresql_url: str, tmp_path: Path, name: str
) -> None:
    """A push or revert with a bad field is one dead letter however often it comes; one push.completed says why."""
    with World(amqp_url, postgresql_url, tmp_path) as world, _channel(amqp_url) as channel:
        push = world.push("p1", {1: 5})
        good = push if name == "push_id" else revert_of(push)
        bad = json.loads(encode(good).body) | {"requested_by": 5}
        body = json.dumps(bad).encode()
        world.start_worker()
        for _ in range(2):
            channel.basic_publish(f"{world.settings.queue_prefix}phin.billing", good.type, body, pika.BasicProperties())
        platform = world.platform
        assert platform is not None
        wait_for(lambda: _attempts(world) == [2], "the dead letter")
        wait_for(lambda: platform.ids_of("push.completed.v1"), "the refusal")
        (refused,) = {
            message.id: message for message in platform.received if isinstance(message, PushCompleted)
        }.values()
        assert (refused.push_id, refused.status) == (bad[name], "refused")
        assert refused.problem is not None
        assert "requested_by" in refused.problem.detail


def test_a_push_id_that_is_taken_changes_nothing(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """The same push id with other content is a dead letter; the first push stands."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        push = world.push("p1", {1: 5})
        world.publish(world.connected("p1"), world.mapped("p1", 1), push)
        world.start_worker()
        wait_for(lambda: world.state_of(push) == "completed", "the push")
        line = push.lines[0].model_copy(update={"billable_users": 6})
        world.publish(push.model_copy(update={"lines": (line,)}))
        wait_for(lambda: _reasons(world) == ["conflict"], "the dead letter")
        assert world.quantity("p1", 100_001) == 5


@contextmanager
def _channel(url: str) -> Iterator[Any]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection.channel()
    connection.close()


def _bodies(world: World) -> list[bytes]:
    with world.database.begin() as tx:
        return list(tx.execute(select(dead_letters.c.body)).scalars())


def _reasons(world: World) -> list[str]:
    with world.database.begin() as tx:
        return list(tx.execute(select(dead_letters.c.reason)).scalars())


def _attempts(world: World) -> list[int]:
    with world.database.begin() as tx:
        return list(tx.execute(select(dead_letters.c.attempts)).scalars())
