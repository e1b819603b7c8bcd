"""Servers of a test's own keep what they were told through a restart and a kill, and serve TLS."""

import ssl

import pika
import psycopg
import pytest

from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ, own


def test_rabbitmq_keeps_persistent_messages(own_rabbitmq: OwnRabbitMQ) -> None:
    """A confirmed message in a quorum queue is there after a stop and after a SIGKILL."""
    with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"body", pika.BasicProperties(delivery_mode=2), mandatory=True)
    own_rabbitmq.restart()
    own_rabbitmq.kill()
    own_rabbitmq.start()
    with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as connection:
        assert connection.channel().queue_declare("kept", passive=True).method.message_count == 1


def test_rabbitmq_blocks_publishers_under_the_memory_alarm(own_rabbitmq: OwnRabbitMQ) -> None:
    """A publisher is told that it is blocked while the alarm is on, and goes on when it is off."""
    told: list[str] = []
    with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as connection:
        connection.add_on_connection_blocked_callback(lambda *_: told.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        channel = connection.channel()
        own_rabbitmq.memory_alarm(on=True)
        channel.basic_publish("", "nowhere", b"body")
        while told != ["blocked"]:
            connection.process_data_events(1)
        own_rabbitmq.memory_alarm(on=False)
        while told != ["blocked", "unblocked"]:
            connection.process_data_events(1)


def test_postgresql_keeps_what_was_committed(own_postgresql: OwnPostgresql) -> None:
    """A committed row is there after a stop, an immediate stop and a SIGKILL; clients are cut off meanwhile."""
    with psycopg.connect(own_postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        own_postgresql.terminate_connections()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    own_postgresql.restart()
    own_postgresql.stop_at_once()
    own_postgresql.start()
    own_postgresql.kill()
    own_postgresql.start()
    with psycopg.connect(own_postgresql.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_rabbitmq_serves_tls() -> None:
    """A client that trusts the authority gets in by amqps, and nobody in clear."""
    with own(OwnRabbitMQ, tls=True) as server:
        parameters = pika.URLParameters(server.url)
        parameters.ssl_options = pika.SSLOptions(ssl.create_default_context(cafile=server.ca_file), "127.0.0.1")
        pika.BlockingConnection(parameters).close()
        with pytest.raises(pika.exceptions.AMQPError):
            pika.BlockingConnection(pika.URLParameters(server.url.replace("amqps", "amqp")))


def test_postgresql_serves_tls() -> None:
    """A client that trusts the authority gets in with sslmode=verify-full."""
    with own(OwnPostgresql, tls=True) as server:
        psycopg.connect(f"{server.url}?sslmode=verify-full&sslrootcert={server.ca_file}").close()
