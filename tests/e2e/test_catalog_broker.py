"""Choices and suggestions through RabbitMQ, kept in PostgreSQL: the answers go to who asked."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest

from messages import CatalogListed, CatalogRequested, decode
from store import backlog
from tests.support.asking import answered, ask, names, question, suggestions_for
from tests.support.case import Case
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app


@pytest.fixture
def world(amqp_url: str, postgresql_url: str, tmp_path: Path) -> Iterator[World]:
    """A worker on real servers; partner p1 is connected."""
    with World(amqp_url, postgresql_url, tmp_path, companies=3) as world:
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            world.publish(world.connected("p1"))
            wait_for(lambda: Case(world).check(), "the connection's check")
            yield world
            assert worker.readiness.troubles == {}


@contextmanager
def waiting_queue(amqp_url: str, name: str = "") -> Iterator[tuple[Any, str]]:
    """A channel and the name of a queue that only its connection reads, as one that waits for a reply has it."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    try:
        yield channel, channel.queue_declare(name, exclusive=True, auto_delete=True).method.queue
    finally:
        connection.close()


def told(world: World, asked: CatalogRequested) -> CatalogListed | None:
    """The answer that came through the platform's queue."""
    assert world.platform is not None
    of_kind = [one for one in list(world.platform.received) if isinstance(one, CatalogListed)]
    return next((one for one in of_kind if one.causation_id == str(asked.id)), None)


def received(world: World, asked: CatalogRequested) -> CatalogListed:
    """Wait for the answer through the platform's queue."""
    wait_for(lambda: told(world, asked), f"the {asked.kind}")
    answer = told(world, asked)
    assert answer is not None
    return answer


def test_each_kind_is_answered_through_the_exchange(world: World) -> None:
    """Companies, agreements, additions and suggestions, with no reply queue: the platform's queue gets the answers."""
    kinds = [
        question("companies", search="company"),
        question("agreements", cw_company_id=2),
        question("additions", agreement_id=1002),
        suggestions_for("Company 3", "Company Two"),
    ]
    world.publish(*kinds)
    companies, agreements, additions, suggested = (received(world, asked) for asked in kinds)
    assert names(companies) == ["Company 1", "Company 2", "Company 3"]
    assert names(agreements) == ["Agreement 2"]
    assert len(additions.choices) == 2
    assert [(one.company_id, one.cw_company_id, one.certain) for one in suggested.suggestions] == [("s1", 3, True)]


@pytest.mark.parametrize("name", ["phin.portal-{}", ""])
def test_the_answer_goes_to_the_queue_of_who_asked(world: World, amqp_url: str, name: str) -> None:
    """A reply queue is addressed by its own name, with no prefix of ours, and nobody else gets the answer."""
    with waiting_queue(amqp_url, name.format(world.settings.queue_prefix.strip("."))) as (channel, queue):
        asked = question("companies", reply_to=queue)
        world.publish(asked)
        bodies: list[bytes] = []

        def arrived() -> bool:
            _, _, body = channel.basic_get(queue, auto_ack=True)
            bodies.extend([body] if body else [])
            return bool(bodies)

        wait_for(arrived, "the reply")
    listed = decode(bodies[0], type="catalog.listed.v1", content_type="application/json")
    assert isinstance(listed, CatalogListed)
    assert (len(listed.choices), listed.correlation_id) == (3, asked.correlation_id)
    other = question("companies")
    world.publish(other)
    assert received(world, other).id != listed.id
    assert told(world, asked) is None


def test_an_answer_that_nobody_waits_for_is_dropped(world: World, amqp_url: str) -> None:
    """A portal that has closed its queue gets no answer, which is no dead letter, and nothing piles up."""
    with waiting_queue(amqp_url) as (_, queue):
        pass
    asked = question("companies", reply_to=queue)
    world.publish(asked)
    assert len(answered(world, asked).choices) == 3

    def left() -> backlog.Backlog:
        with world.database.begin() as tx:
            return backlog.read(tx)

    wait_for(lambda: not left().outbox, "an empty outbox")
    assert left().dead_letters == 0
    assert len(ask(world, question("companies")).choices) == 3
