"""The publisher against a real RabbitMQ."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from messages import (
    CatalogRequested,
    ContractError,
    Publisher,
    PublishError,
    Refused,
    Unreachable,
    Unroutable,
    decode,
)
from tests.support.rabbitmq import Broker
from tests.support.samples import mapping_changed
from tests.support.servers import address

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _question() -> CatalogRequested:
    return CatalogRequested(partner_id="msp-1", correlation_id="q-1", kind="companies")


def test_a_message_arrives_with_its_properties(amqp_url: str, broker: Broker) -> None:
    """A consumer gets the message as it was made, persistent, and named in its properties."""
    message = mapping_changed(traceparent=TRACE)
    with Publisher(amqp_url, exchange=broker.exchange) as publisher:
        publisher.publish(message)
    [(properties, body)] = broker.take()
    assert properties.message_id == str(message.id)
    assert properties.correlation_id == "q-1"
    assert properties.delivery_mode == 2
    assert properties.headers["traceparent"] == TRACE
    assert decode(body, type=properties.type, content_type=properties.content_type) == message


def test_many_messages_arrive_in_their_order(amqp_url: str, broker: Broker) -> None:
    """A first synchronisation of a thousand mappings arrives whole and in order."""
    messages = [mapping_changed(number) for number in range(1000)]
    with Publisher(amqp_url, exchange=broker.exchange) as publisher:
        publisher.publish_many(messages)
    assert broker.taken_ids() == [str(message.id) for message in messages]


def test_several_threads_may_publish_at_once(amqp_url: str, broker: Broker) -> None:
    """Web workers share one publisher, and each message arrives exactly once."""
    messages = [mapping_changed(number) for number in range(400)]
    with Publisher(amqp_url, exchange=broker.exchange) as publisher, ThreadPoolExecutor(8) as pool:
        list(pool.map(publisher.publish, messages))
    assert sorted(broker.taken_ids()) == sorted(str(message.id) for message in messages)


def test_what_no_queue_takes_is_an_error(amqp_url: str, broker: Broker) -> None:
    """A message that the broker would drop in silence raises, tells which ones arrived, and harms no later one."""
    first, lost, last = mapping_changed(1), _question(), mapping_changed(2)
    with Publisher(amqp_url, exchange=broker.exchange) as publisher:
        with pytest.raises(Unroutable, match="no queue takes") as caught:
            publisher.publish_many([first, lost])
        publisher.publish(last)
    assert caught.value.confirmed == (first,)
    assert caught.value.unconfirmed == (lost,)
    assert caught.value.message is lost
    assert broker.taken_ids() == [str(first.id), str(last.id)]


def test_a_missing_exchange_is_an_error_until_it_is_there(amqp_url: str, broker: Broker) -> None:
    """Before the worker is deployed nothing is lost in silence; afterwards the same publisher works."""
    broker.channel.exchange_delete(broker.exchange)
    with Publisher(amqp_url, exchange=broker.exchange) as publisher:
        with pytest.raises(Unroutable, match="no exchange"):
            publisher.publish(mapping_changed())
        broker.channel.exchange_declare(broker.exchange, "topic", durable=True)
        broker.channel.queue_bind(broker.queue, broker.exchange, "#")
        publisher.publish(mapping_changed())
    assert len(broker.take()) == 1


def test_a_full_queue_refuses(amqp_url: str, broker: Broker) -> None:
    """When the worker is away for long, the sender learns which of its messages did not fit, in order."""
    full = f"{broker.queue}-full"
    broker.channel.queue_declare(full, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    broker.channel.queue_bind(full, broker.exchange, "catalog.requested.v1")
    messages = [_question() for _ in range(300)]
    with Publisher(amqp_url, exchange=broker.exchange) as publisher, pytest.raises(Refused, match="full") as caught:
        publisher.publish_many(messages)
    broker.channel.queue_delete(full)
    assert caught.value.confirmed[0] == messages[0]
    assert caught.value.unconfirmed[-1] == messages[-1]
    assert len(caught.value.confirmed) + len(caught.value.unconfirmed) == 300


def test_a_silent_server_is_unreachable() -> None:
    """A server that accepts and says nothing does not hang the sender."""
    message = mapping_changed()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/"
        with Publisher(url, connect_timeout=0.3) as publisher, pytest.raises(Unreachable, match="no answer") as caught:
            publisher.publish(message)
    assert caught.value.unconfirmed == (message,)


def test_a_closed_port_is_unreachable() -> None:
    """A broker that is down is told with its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    publisher = Publisher(f"amqp://guest:guest@127.0.0.1:{port}/")
    with publisher, pytest.raises(Unreachable, match=f"127.0.0.1:{port}.*refused"):
        publisher.publish(mapping_changed())


@pytest.mark.parametrize(("path", "says"), [("/", "password"), ("/no-such-vhost", "virtual host")])
def test_a_wrong_login_says_so_without_the_password(amqp_url: str, path: str, says: str) -> None:
    """An operator sees what to correct, and a log does not show the password."""
    host, port = address(amqp_url)
    login = f"nobody:hunter2@{host}:{port}/" if path == "/" else f"{urlsplit(amqp_url).netloc}{path}"
    with Publisher(f"amqp://{login}") as publisher, pytest.raises(Unreachable, match=says) as caught:
        publisher.publish(mapping_changed())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a:hunter2@b", "amqp://a:hunter2@b:port/", "amqp://a:hunter2@b/?heartbeat=x"])
def test_a_url_that_is_none_does_not_show_its_password(url: str) -> None:
    """A slip in the settings is told without the secret."""
    with pytest.raises(ValueError, match="the broker URL") as caught:
        Publisher(url)
    assert "hunter2" not in str(caught.value)


def test_a_message_that_is_too_large_stops_the_call_before_it_sends(amqp_url: str, broker: Broker) -> None:
    """Of a batch with an impossible message nothing is sent, so it can be corrected and sent whole."""
    huge = mapping_changed().model_copy(update={"company_name": "x" * 17 * 1024 * 1024})
    with Publisher(amqp_url, exchange=broker.exchange) as publisher, pytest.raises(ContractError, match="too_large"):
        publisher.publish_many([mapping_changed(), huge])
    assert broker.take() == []


def test_a_closed_publisher_leaves_no_thread_and_can_start_again(amqp_url: str, broker: Broker) -> None:
    """A process that stops is not kept alive, and a publisher may be closed after every use."""
    before = threading.active_count()
    publisher = Publisher(amqp_url, exchange=broker.exchange)
    for _ in range(2):
        publisher.publish(mapping_changed())
        publisher.close()
        publisher.close()
        assert threading.active_count() == before
    assert len(broker.take()) == 2


def test_one_class_catches_every_failure_to_publish() -> None:
    """A sender needs one except clause to keep what was not confirmed."""
    assert {Unroutable, Refused, Unreachable} == set(PublishError.__subclasses__())
