"""Messages that the contract refuses, made by hypothesis: the same ones at every run, each another."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pika
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from messages import (
    KINDS,
    CatalogRequested,
    ConnectionCheckRequested,
    ContractError,
    KeyRing,
    MappingCheckRequested,
    Message,
    PushRequested,
    decode,
    encode,
)
from messages.sealing import unseal_bytes
from store.schema import dead_letters
from tests.support.reverting import revert_of
from tests.support.waiting import wait_for
from tests.support.world import World, now

HUGE_EVERY = 500
ROOTS = b'[{"0-nft \x00\xff\xfe'
ODD_HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"traceparent": "nonsense"},
    {"traceparent": 7, "list": [1, "two", None], "table": {"a": {"b": b"\x00\xff"}}},
    {"phin-replay": "nonsense", "x-death": "nobody's"},
)


@dataclass(frozen=True)
class Malformed:
    """A delivery to the queue of `kind` that must become a dead letter."""

    body: bytes
    kind: str = ""
    type: str | None = None
    content_type: str | None = None
    message_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """True if the contract refuses it; a mutated delivery may by chance have stayed a message."""
        try:
            return decode(self.body, type=self.type, content_type=self.content_type).type != self.kind
        except ContractError:
            return True


def samples(world: World) -> list[Message]:
    """A good message of each kind that a worker consumes, of a partner that nobody is."""
    push = world.push("nobody", {1: 5, 2: 6})
    made: list[Message] = [
        push,
        world.mapped("nobody", 1),
        world.connected("nobody"),
        ConnectionCheckRequested(
            partner_id="nobody", correlation_id="q", requested_at=now(), requested_by="ana@msp.example"
        ),
        MappingCheckRequested(
            partner_id="nobody", correlation_id="q", requested_at=now(), requested_by="ana@msp.example"
        ),
        CatalogRequested(partner_id="nobody", correlation_id="q", kind="companies"),
        revert_of(push, "c1"),
    ]
    kinds = {queue.kind for queue in world.broker.topology.queues}
    assert kinds & set(KINDS) <= {message.type for message in made} | {"push.cancel_requested.v1"}
    return made


def make(goods: Sequence[Message], count: int) -> list[Malformed]:
    """So many of them, each made for all queues; all different, one in HUGE_EVERY huge."""
    found: dict[tuple[str, bytes], Malformed] = {}

    @settings(
        max_examples=count // 3,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_malformed([json.loads(encode(good).body) for good in goods]))
    def collect(one: Malformed) -> None:
        if len(found) < count:
            # Each of another partner: what one partner sends faster than its share has to wait.
            body = one.body.replace(b'"nobody"', b'"nobody-%d"' % len(found))
            everywhere = (replace(one, body=body, kind=good.type) for good in goods)
            found.update({(each.kind, each.body): each for each in everywhere if each.is_refused})

    collect()
    made = list(found.values())[:count]
    assert len(made) == count, f"only {len(made)} different ones were made"
    for position in range(HUGE_EVERY // 2, count, HUGE_EVERY):
        made[position] = _huge(position, goods[position % len(goods)].type)
    return made


def deliver(url: str, prefix: str, queues: dict[str, str], messages: Sequence[Malformed]) -> None:
    """Publish these straight into their queues, as they are; returns when the broker has them all."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for one in messages:
            properties = pika.BasicProperties(
                type=one.type, content_type=one.content_type, message_id=one.message_id, headers=one.headers or None
            )
            channel.basic_publish("", f"{prefix}{queues[one.kind]}", one.body, properties, mandatory=True)


@dataclass
class Flood:
    """Malformed deliveries and good pushes among them, for one worker."""

    world: World
    url: str
    sent: list[Malformed] = field(default_factory=list)
    pushes: list[PushRequested] = field(default_factory=list)

    def send(self, messages: Sequence[Malformed], *, push_every: int) -> None:
        """Send malformed ones with a good push after each so many; returns when all is stored and every push done."""
        world = self.world
        prefix = world.settings.queue_prefix
        queues = {queue.kind: queue.name.removeprefix(prefix) for queue in world.broker.topology.queues if queue.kind}
        for start in range(0, len(messages), push_every):
            deliver(self.url, prefix, queues, messages[start : start + push_every])
            push = world.push("p1", {1: 2 + len(self.pushes), 2: 3 + len(self.pushes)})
            world.publish(push)
            self.pushes.append(push)
        self.sent += messages
        wait_for(lambda: self._kept() == len(self.sent), f"{len(self.sent):,} dead letters", 600)
        wait_for(lambda: all(world.state_of(push) == "completed" for push in self.pushes), "the good pushes", 120)

    def check_bytes(self) -> None:
        """Every body is in the table, byte for byte, once, under its queue."""
        ring = KeyRing.parse(self.world.keys.private)
        queues = {queue.kind: queue.name for queue in self.world.broker.topology.queues}
        prefix = self.world.settings.queue_prefix
        sent = Counter((queues[one.kind].removeprefix(prefix), sha256(one.body).digest()) for one in self.sent)
        kept: Counter[tuple[str, bytes]] = Counter()
        with self.world.database.begin() as tx:
            for row in tx.execute(select(dead_letters.c.queue, dead_letters.c.body, dead_letters.c.sealed_with)):
                body = unseal_bytes(row.body, row.sealed_with, ring) if row.sealed_with else row.body
                kept[row.queue, sha256(body).digest()] += 1
        assert kept == sent

    def _kept(self) -> int:
        with self.world.database.begin() as tx:
            return tx.execute(select(func.count()).select_from(dead_letters)).scalar_one()


# --- what is wrong with them


def _malformed(documents: list[dict[str, Any]]) -> st.SearchStrategy[Malformed]:
    mutations = (_truncated, _changed, _without, _doubled, _other_version, _other_encoding)
    mutated = st.one_of([mutation(document) for document in documents for mutation in mutations])
    kinds = [document["type"] for document in documents]
    json_type = [None, "application/json", "application/json; charset=utf-8"]
    return st.builds(
        Malformed,
        body=st.one_of(mutated, mutated, _not_json(), _deep()),
        type=st.sampled_from([*[None] * 9, "", "push.requested.v9", *kinds]),
        content_type=st.sampled_from([*json_type * 4, "text/plain", ""]),
        message_id=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
        headers=st.sampled_from(ODD_HEADERS),
    )


def _truncated(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    body = json.dumps(document).encode()
    return st.builds(lambda end, tail: body[:end] + tail, st.integers(0, len(body) - 1), st.binary(max_size=3))


def _changed(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    wrong = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=200),
        st.lists(st.none() | st.text(max_size=3), max_size=5),
        st.just({}),
        st.just("\0"),
        st.just("9" * 5000),
    )
    return st.builds(
        lambda path, value: json.dumps(_with(document, path, lambda _: value)).encode(),
        st.sampled_from(list(_paths(document))),
        wrong,
    )


def _without(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda name, extra: json.dumps({key: value for key, value in document.items() if key != name} | extra).encode(),
        st.sampled_from(list(document)),
        st.dictionaries(st.text(max_size=20), st.integers() | st.text(max_size=20), max_size=3),
    )


def _doubled(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    body = json.dumps(document)
    return st.builds(
        lambda name, value: f"{body[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}".encode(),
        st.sampled_from(list(document)),
        st.integers() | st.text(max_size=30),
    )


def _other_version(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    kind = str(document["type"]).rpartition(".")[0]
    return st.builds(
        lambda name, version: json.dumps(document | {"type": f"{name}.v{version}"}).encode(),
        st.sampled_from([kind, "invoice.paid", ""]) | st.text(max_size=30),
        st.integers(2, 10**12),
    )


def _other_encoding(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    def encoded(text: str, encoding: str) -> bytes:
        return json.dumps(document | {"correlation_id": text}, ensure_ascii=False).encode(encoding, "replace")

    texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
    return st.builds(encoded, texts, st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037"]))


def _not_json() -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.binary(max_size=300),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.builds(lambda first, rest: ROOTS[first : first + 1] + rest, st.integers(0, len(ROOTS) - 1), st.binary()),
        st.builds(
            lambda key, name: f"{{{json.dumps(key)}: {name}}}".encode(),
            st.text(max_size=20),
            st.sampled_from(["NaN", "Infinity", "-Infinity"]),
        ),
    )


def _deep() -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda depth, pair, name: pair[0].replace("k", name).encode() * depth + b"1" + pair[1].encode() * depth,
        st.integers(50, 20_000),
        st.sampled_from([("[", "]"), ("[", ""), ('{"k":', "}"), ('[{"k":', "}]")]),
        st.sampled_from("abcdefgh"),
    )


def _huge(number: int, kind: str) -> Malformed:
    """Some MB: text, keys of which the last comes twice, values, or one long number."""
    forms: tuple[Callable[[], str], ...] = (
        lambda: f'{{"type": "{kind}", "n": {number}, "text": "{"x" * 3_000_000}"}}',
        lambda: "{" + ", ".join(f'"{number}-{min(key, 99_998)}": 1' for key in range(100_000)) + "}",
        lambda: f'{{"type": "{kind}", "n": {number}, "lines": [{"{}," * 400_000}{{}}]}}',
        lambda: f'{{"type": "{kind}", "n": {number}, "much": {"9" * 1_000_000}}}',
    )
    return Malformed(forms[number // HUGE_EVERY % len(forms)]().encode(), kind, content_type="application/json")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [deeper for key, one in items for deeper in _paths(one, (*path, key))]
    return ([path] if path else []) + inner


def _with(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of a document with one value changed."""
    if not path:
        return change(value)
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(value[path[0]], path[1:], change)
    return copied
