"""Certificates of tests, and a server that shows one."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Issued:
    """A certificate and its key; who issued it has signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def issue(name: str, *names: str, by: Issued | None = None, is_authority: bool = True, days: int = 1) -> Issued:
    """A new certificate for `names`, signed by another, or by itself.

    It ends in so many days; with a negative number it ended that long ago.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    kinds = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1 + abs(days)))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if kinds:
        builder = builder.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


def served(folder: Path, issued: Issued, *chain: Issued) -> ssl.SSLContext:
    """Server context that shows a certificate, and those of its issuers that are named."""
    private = issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    (folder / "both.pem").write_text(private + issued.pem + "".join(one.pem for one in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def certificate(folder: Path, *names: str, days: int = 1) -> tuple[ssl.SSLContext, str]:
    """Server context with a new self-signed certificate for `names`, and that certificate as PEM; `days` as above."""
    issued = issue("test", *names, days=days)
    return served(folder, issued), issued.pem


@contextmanager
def shown(context: ssl.SSLContext) -> Iterator[int]:
    """A server on loopback that only shakes hands; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
