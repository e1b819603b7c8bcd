"""A message that nobody could handle is kept as it came, whoever gave it up; it is looked at, resent or put away."""

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from amqp import Channel
from amqp.basic_message import Message
from kombu.connection import Connection
from sqlalchemy import text, update

from messages import KeyRing, encode, generate_keypair
from store import dead_letters, outbox
from store.amqp_properties import as_sent
from store.dead_letter_queries import StoredDeadLetter
from store.schema import outbox as outbox_table
from tests.support.letters import Letters
from tests.support.waiting import wait_for
from tests.support.watched import watched
from tests.support.world import PRIVATE_KEY, World
from worker.cli.display.dead_letters import in_full_as_json
from worker.health import Readiness
from worker.messaging.broker import Delivery
from worker.messaging.dead_letters import QUEUE_OF_KEYS, DeadLetters
from worker.messaging.relay import Relay

QUEUE = "connectwise.mapping-changed.v1"
PROPERTIES: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "latin-1",
    "priority": 3,
    "correlation_id": "c \N{SNOWMAN}",
    "reply_to": "phin.answers",
    "message_id": "m-1",
    "timestamp": 1_700_000_000,
    "type": "mapping.changed.v1",
    "app_id": "portal",
}
HEADERS: dict[str, Any] = {
    "text": "with \0 and \N{SNOWMAN}",
    "bytes": b"\x00\xff",
    "readable bytes": b"abc",
    "number": 2**40,
    "ratio": 1.25,
    "price": Decimal("-1.50"),
    "yes": True,
    "nothing": None,
    "when": datetime.fromisoformat("2026-11-22T10:00:00"),
    "table": {"list": [1, {"deep": b"\x80"}, []], "$bytes": "no tag of ours"},
    "x-own": "stays",
}


@pytest.fixture
def world(amqp_url: str, postgresql_url: str, tmp_path: Path) -> Iterator[World]:
    """RabbitMQ with PostgreSQL; no worker runs yet."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        yield world


@pytest.fixture
def channel(amqp_url: str) -> Iterator[Any]:
    """A channel of py-amqp, as the worker's: bodies as bytes."""
    opened: Any = Connection
    with opened(amqp_url) as connection:
        channel: Any = connection.channel()
        channel.auto_decode = False
        yield channel


def _publish(channel: Any, world: World, body: bytes, **more: Any) -> None:
    headers = more.pop("headers", HEADERS)
    given = {name: value for name, value in (PROPERTIES | more).items() if value is not None}
    message = Message(body, application_headers=headers, **given)
    Channel.basic_publish(channel, message, "", world.settings.queue_prefix + QUEUE)


def _get(channel: Any, queue: str) -> Any:
    return wait_for(lambda: Channel.basic_get(channel, queue), f"a message in {queue}")


@contextmanager
def _relaying(world: World) -> Iterator[None]:
    stop = threading.Event()
    opened = DeadLetters(KeyRing.parse(world.keys.private)).unsealed
    thread = threading.Thread(target=Relay(world.database, world.broker, Readiness(), opened).run, args=(stop,))
    try:
        with watched(world.database):
            thread.start()
            yield
            stop.set()
    finally:
        thread.join()


def test_bytes_and_headers_come_unharmed_through_the_table_and_a_replay(world: World, channel: Any) -> None:
    """A message arrives again as its sender made it: each byte, each property, each header with its type."""
    queue = world.settings.queue_prefix + QUEUE
    body = b"\xff\x00 not ours"
    _publish(channel, world, body)
    sent = _get(channel, queue)
    Channel.basic_reject(channel, sent.delivery_tag, requeue=True)
    world.start_worker()
    letters = Letters(world)
    (letter,) = letters.wait()
    assert (letter.body, letter.queue, letter.reason) == (body, QUEUE, "contract")
    world.end_workers()
    letters.replay_all()
    with _relaying(world):
        got = _get(channel, queue)
        if "phin-replay" not in got.properties["application_headers"]:
            # The worker was killed before it could acknowledge the message itself.
            got = _get(channel, queue)
    Channel.basic_ack(channel, got.delivery_tag)
    headers = dict(got.properties["application_headers"])
    assert headers.pop("phin-replay") == f"{letter.id}/1"
    assert {name: value for name, value in headers.items() if name != "x-delivery-count"} == HEADERS
    assert {name: type(value) for name, value in headers.items() if name in HEADERS} == {
        name: type(value) for name, value in HEADERS.items()
    }
    assert bytes(got.body) == bytes(sent.body) == body
    kept = {name: value for name, value in got.properties.items() if name != "application_headers"}
    assert kept == PROPERTIES | {"delivery_mode": 2}
    # Another client reads the same.
    assert as_sent({"headers": headers}) == as_sent({"headers": sent.properties["application_headers"]})


def test_what_reaches_the_delivery_limit_is_kept(world: World, channel: Any) -> None:
    """A message that its consumer gives back 21 times is a dead letter with its queue, and a replay handles it."""
    queue = world.settings.queue_prefix + QUEUE
    mapping = world.mapped("p1", 1)
    wire = encode(mapping)
    _publish(channel, world, wire.body, message_id="m", content_type="application/json", content_encoding=None)
    for _ in range(21):
        Channel.basic_reject(channel, _get(channel, queue).delivery_tag, requeue=True)
    world.start_worker()
    letters = Letters(world)
    (letter,) = letters.wait()
    assert (letter.reason, letter.queue, letter.attempts) == ("delivery_limit", QUEUE, 21)
    assert (letter.body, letter.partner_id, letter.kind) == (wire.body, "p1", "mapping.changed.v1")
    assert as_sent(letter.properties)["headers"] == HEADERS
    done = letters.command("replay", letter.id)
    assert done.returncode == 0, done.stderr
    assert letters.all()[0].applied == 1


def test_what_expires_is_kept(world: World, channel: Any) -> None:
    """A message whose time to live is over before a worker takes it is kept; a replay does not expire again."""
    _publish(channel, world, b"late", expiration="50")
    dead = world.settings.queue_prefix + "connectwise.dead.v1"
    given_up = _get(channel, dead)
    Channel.basic_reject(channel, given_up.delivery_tag, requeue=True)
    world.start_worker()
    (letter,) = Letters(world).wait()
    assert (letter.reason, letter.queue, letter.body, letter.attempts) == ("expired", QUEUE, b"late", 1)
    assert "expiration" not in as_sent(letter.properties)


def test_what_names_no_queue_of_ours_is_kept_and_cannot_be_replayed(world: World, channel: Any) -> None:
    """Somebody's message in the queue of the dead is kept; a replay says why it goes nowhere."""
    dead = world.settings.queue_prefix + "connectwise.dead.v1"
    for headers in ({}, {"x-death": "odd"}, {"x-death": [{"queue": "orders", "reason": "rejected", "count": 2}]}):
        message = Message(uuid.uuid4().bytes, application_headers=headers)
        Channel.basic_publish(channel, message, "", dead)
    world.start_worker()
    letters = Letters(world)
    found = letters.wait(3)
    assert {(letter.reason, letter.queue) for letter in found} >= {("unknown", "")}
    done = letters.command("replay", "--all")
    assert done.returncode == 0
    assert "3 cannot be replayed, as they name no queue of ours" in done.stderr
    assert done.stdout == "There is nothing to replay.\n"
    assert {letter.state for letter in letters.all()} == {"open"}


def test_many_malformed_messages_are_grouped(world: World, channel: Any) -> None:
    """Hundreds of failures of one cause are one group; the first ones of a replay fail again, and the rest stay."""
    for number in range(150):
        _publish(channel, world, b"{ %d" % number, message_id=f"m-{number}", content_type="application/json")
    world.start_worker()
    letters = Letters(world)
    letters.wait(150)
    (group,) = json.loads(letters.command("groups", "--json").stdout)["groups"]
    assert (group["count"], group["reason"], group["error_type"]) == (150, "contract", "not_json")
    done = letters.command("replay", "--group", group["fingerprint"])
    assert done.returncode == 1
    assert "Stopped: 1 of 1 failed again, so no more are sent." in done.stderr
    assert "Replayed 1: 0 done, 1 came back, 0 not decided; 149 left." in done.stdout
    listed = json.loads(letters.command("list", "--kind", "mapping.changed.v1", "--limit", "3", "--json").stdout)
    assert (listed["count"], len(listed["letters"]), listed["letters"][0]["returns"]) == (150, 3, 1)


def test_letters_are_looked_at_put_away_and_taken_out(world: World, channel: Any) -> None:
    """`show` has all and cannot move the cursor, `export` has each byte, `discard` needs a reason, `restore` undoes."""
    _publish(channel, world, b"\x00\xff", headers={"odd": "\x1b[2J"})
    world.start_worker()
    letters = Letters(world)
    (letter,) = letters.wait()
    shown = letters.command("show", letter.id[:8]).stdout
    assert "00000000  00 ff" in shown
    assert "\x1b" not in shown
    exported = [json.loads(line) for line in letters.command("export").stdout.splitlines()]
    assert [base64.b64decode(one["body_base64"]) for one in exported] == [letter.body]
    assert exported[0]["properties"]["headers"]["odd"] == "\x1b[2J"
    assert letters.command("export", "all.jsonl").returncode == 0
    assert letters.command("export", "all.jsonl", "--id", "zzz").returncode == 2
    assert (world.folder / "all.jsonl").read_text().count("\n") == 1
    assert letters.command("discard", "", "--why", "a test").returncode == 2
    nothing = letters.command("discard", "--why", "a test")
    assert (nothing.returncode, "--all" in nothing.stderr) == (2, True)
    assert letters.command("discard", letter.id).returncode == 2
    assert letters.command("discard", letter.id, "--why", "a test", "--by", "ana").stdout == "Discarded 1.\n"
    assert letters.command("list").stdout == "There are no such dead letters.\n"
    assert "discarded by ana: a test" in letters.command("show", letter.id).stdout
    assert letters.command("restore", "--since", "1h").stdout == "Restored 1.\n"
    assert letters.all()[0].state == "open"
    assert letters.command("list", "--since", "yesterday").returncode == 2
    assert "no dead letter's id begins with" in letters.command("show", "zzz").stderr


def test_a_private_key_that_was_not_sealed_is_readable_nowhere(stack: tuple[str, str], tmp_path: Path) -> None:
    """The platform's mistake is kept sealed to our own key, shown masked, exported sealed, and replayed exactly."""
    with World(*stack, tmp_path) as world:
        wire = encode(world.connected("p1"))
        mistaken = json.loads(wire.body) | {"private_key": PRIVATE_KEY, "changed_at": "soon"}
        _send_as_connection(world, json.dumps(mistaken).encode())
        world.start_worker()
        letters = Letters(world)
        (letter,) = letters.wait()
        assert letter.sealed_with is not None
        shown = letters.command("show", letter.id).stdout
        assert '"private_key": "•••"' in shown
        assert '"partner_id": "p1"' in shown
        assert mistaken["sealed_private_key"]["box"] not in shown
        outputs = [shown, letters.command("export").stdout, letters.command("show", letter.id, "--json").stdout]
        done = letters.command("replay", letter.id)
        assert (done.returncode, "came back: contract" in done.stderr) == (1, True), done.stderr
        (again,) = letters.all()
        assert (again.id, again.returns, again.attempts) == (letter.id, 1, 2)
        logs = [log.read_text() for log in tmp_path.glob("worker-*.log")]
        assert not any(PRIVATE_KEY in output for output in [*outputs, done.stdout, done.stderr, *logs, _dump(world)])


@pytest.mark.parametrize("depth", [0, 400, 900, 5000])
def test_a_masked_body_may_be_deep(depth: int) -> None:
    """An operator can look at a body that may hold a private key, whatever is in it, and sees no value."""
    sealing = DeadLetters(KeyRing.parse(generate_keypair().private))
    body = b'{"private_key": ' + b"[" * depth + b'"s3cret"' + b"]" * depth + b"}"
    delivery = Delivery("connection.changed.v1", QUEUE_OF_KEYS, body, {"message_id": "m"}, redelivered=False)
    letter = sealing.of(delivery, "contract", "too deep")
    at = datetime.fromisoformat("2026-11-22T10:00:00+00:00")
    given = {name: getattr(letter, name) for name in StoredDeadLetter.__dataclass_fields__ if hasattr(letter, name)}
    counted: dict[str, Any] = {"first_failed_at": at, "last_failed_at": at, "replays": 0, "returns": 0, "applied": 0}
    kept = StoredDeadLetter(**given, **counted, state="open", history=[])
    masked = in_full_as_json(kept, sealing.keys)["masked"]
    assert "s3cret" not in masked
    assert f"sealed with the key {letter.sealed_with}" in masked


def _send_as_connection(world: World, body: bytes) -> None:
    row = outbox.new_row("phin.billing", "connection.changed.v1", {"message_id": str(uuid.uuid4())}, body)
    assert world.broker.publish([row]) == [None]


def _dump(world: World) -> str:
    """All tables that keep messages, as text."""
    with world.database.begin() as tx:
        rows = [tx.execute(text(f"SELECT * FROM {name}")).all() for name in ("dead_letters", "outbox")]  # noqa: S608
    return repr([[bytes(v) if isinstance(v, memoryview) else v for v in row] for some in rows for row in some])


def test_what_no_queue_takes_is_kept_and_goes_to_its_exchange_later(world: World, channel: Any) -> None:
    """A result that cannot be published is a dead letter; once a queue is bound, a replay brings it there."""
    queue, body = f"{world.settings.queue_prefix}late", b'{"partner_id": "p1"}'
    with world.database.begin() as tx:
        outbox.put_rows(tx, [outbox.new_row("phin.billing", "nobody.v1", {"message_id": "m-1"}, body)])
        tx.execute(update(outbox_table).values(attempts=9))
    letters = Letters(world)
    with _relaying(world):
        (letter,) = letters.wait()
        assert (letter.reason, letter.exchange, letter.queue) == ("unpublishable", "phin.billing", "nobody.v1")
        assert ("no queue takes it" in letter.error, letter.partner_id) == (True, "p1")
        exchange = f"{world.settings.queue_prefix}phin.billing"
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, exchange, "nobody.v1")
        letters.replay_all()
        assert bytes(_get(channel, queue).body) == body
        wait_for(lambda: letters.all()[0].applied == 1, "the note that it arrived")


def test_what_was_sealed_and_no_queue_takes_stays_sealed(world: World, channel: Any) -> None:
    """A message that may hold a private key and cannot leave is a sealed dead letter, and leaves later as it was."""
    sealing = DeadLetters(KeyRing.parse(world.keys.private))
    body = json.dumps({"private_key": PRIVATE_KEY}).encode()
    row = sealing.sealed(outbox.new_row("", QUEUE_OF_KEYS, {"message_id": "m-1"}, body))
    channel.queue_delete(world.settings.queue_prefix + QUEUE_OF_KEYS)
    with world.database.begin() as tx:
        outbox.put_rows(tx, [row])
        tx.execute(update(outbox_table).values(attempts=9))
    letters = Letters(world)
    with _relaying(world):
        (letter,) = letters.wait()
        assert (letter.reason, letter.sealed_with) == ("unpublishable", KeyRing.parse(world.keys.private).key_ids[0])
        assert PRIVATE_KEY not in _dump(world)
        assert '"private_key": "•••"' in letters.command("show", letter.id).stdout
        world.broker.declare()
        letters.replay_all()
        assert bytes(_get(channel, world.settings.queue_prefix + QUEUE_OF_KEYS).body) == body


def test_a_replay_that_cannot_be_opened_is_back_and_names_the_key(world: World) -> None:
    """A body that was sealed to a key which is gone stays where it is, and says which key is missing."""
    sealing = DeadLetters(KeyRing.parse(generate_keypair().private))
    delivery = Delivery("connection.changed.v1", QUEUE_OF_KEYS, b"private_key", {"message_id": "m"}, redelivered=False)
    with world.database.begin() as tx:
        dead_letters.add(tx, sealing.of(delivery, "contract", "no JSON"))
    letters = Letters(world)
    with _relaying(world):
        letters.replay_all()
        wait_for(lambda: letters.all()[0].returns == 1, "the replay to come back")
    (letter,) = letters.all()
    assert (letter.state, letter.reason) == ("open", "unpublishable")
    assert letter.sealed_with is not None
    assert letter.sealed_with in letter.error
    assert f"no seal key '{letter.sealed_with}'" in letters.command("show", letter.id).stdout
