"""The publisher over a line to a real RabbitMQ that breaks, falls silent, or is another's."""

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from messages import Publisher, Unreachable
from tests.support.rabbitmq import Broker
from tests.support.samples import mapping_changed
from tests.support.servers import address
from tests.support.waiting import wait_for, within

NOW = datetime.now(UTC)


class Line:
    """A TCP line to the broker that can be cut, and that can keep the broker's answers back."""

    def __init__(self, target: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.open = threading.Event()
        self.open.set()
        self._target = target
        self._tls = tls
        self._ends: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """The broker's address."""
        port: int = self._server.getsockname()[1]
        return port

    def cut(self) -> None:
        """Break every connection that there is now; one that is made meanwhile stays."""
        for end in tuple(self._ends):
            _hang_up(end)

    def close(self) -> None:
        """Break every connection and take no new one."""
        self.open.set()
        _hang_up(self._server)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._server, *self._ends):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            self._ends.append(client)
            try:
                near = self._tls.wrap_socket(client, server_side=True) if self._tls else client
            except OSError:
                continue
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for source, sink, answers in ((near, far, False), (far, near, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink), kwargs={"answers": answers})
                thread.start()
                self._threads.append(thread)

    def _pump(self, source: socket.socket, sink: socket.socket, *, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if answers:
                    self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        _hang_up(source)
        _hang_up(sink)


def _hang_up(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        end.close()


@pytest.fixture
def line(amqp_url: str) -> Iterator[Line]:
    """Open a line to the broker."""
    line = Line(address(amqp_url))
    yield line
    line.close()


def _through(line: Line, amqp_url: str, scheme: str = "amqp", host: str = "127.0.0.1") -> str:
    parts = urlsplit(amqp_url)
    return f"{scheme}://{parts.username}:{parts.password}@{host}:{line.port}{parts.path}"


def test_a_dropped_connection_does_not_fail_the_next_publish(amqp_url: str, broker: Broker, line: Line) -> None:
    """After an idle night or a restart of the broker the next message arrives, once."""
    before, after = mapping_changed(1), mapping_changed(2)
    with Publisher(_through(line, amqp_url), exchange=broker.exchange) as publisher:
        publisher.publish(before)
        line.cut()
        publisher.publish(after)
    assert broker.taken_ids() == [str(before.id), str(after.id)]


def test_a_confirm_lost_with_its_connection_means_the_same_id_again(amqp_url: str, broker: Broker, line: Line) -> None:
    """A message whose outcome is unknown is sent again under its own id, so that a repeat is recognised."""
    first, message = mapping_changed(1), mapping_changed(2)
    with Publisher(_through(line, amqp_url), exchange=broker.exchange) as publisher, ThreadPoolExecutor(1) as pool:
        publisher.publish(first)
        broker.taken_ids()
        line.open.clear()
        publishing = pool.submit(publisher.publish, message)
        wait_for(lambda: broker.holds(1), "the message in the queue")
        line.cut()
        line.open.set()
        publishing.result()
    assert broker.taken_ids() == [str(message.id)] * 2


def test_no_confirm_in_time_is_an_error_and_not_the_end(amqp_url: str, broker: Broker, line: Line) -> None:
    """A broker that stops answering does not hang the sender, and one that is back is used again."""
    limit = within(0.5)
    with Publisher(_through(line, amqp_url), exchange=broker.exchange, confirm_timeout=limit) as publisher:
        publisher.publish(mapping_changed())
        line.open.clear()
        with pytest.raises(Unreachable, match=f"no confirm within {limit:g} s"):
            publisher.publish(mapping_changed())
        line.open.set()
        broker.taken_ids()
        publisher.publish(mapping_changed())
        assert len(broker.taken_ids()) == 1


def _certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    pem.write_bytes(private + public)
    authority = folder / "authority.pem"
    authority.write_bytes(public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, authority


@pytest.mark.parametrize(
    ("host", "trusted", "error"),
    [("localhost", True, None), ("localhost", False, "self-signed"), ("other.example", True, "Hostname mismatch")],
)
def test_amqps_verifies_the_server(
    amqp_url: str, broker: Broker, tmp_path: Path, host: str, *, trusted: bool, error: str | None
) -> None:
    """Messages go only to a server whose certificate is trusted and bears the name in the URL."""
    context, authority = _certificate(tmp_path, host)
    line = Line(address(amqp_url), context)
    url = _through(line, amqp_url, "amqps", "localhost")
    with Publisher(url, exchange=broker.exchange, ca_file=authority if trusted else None) as publisher:
        if error:
            with pytest.raises(Unreachable, match=error):
                publisher.publish(mapping_changed())
        else:
            publisher.publish(mapping_changed())
    line.close()
    assert len(broker.taken_ids()) == (0 if error else 1)
