"""The one door to HTTP: a request out, an answer back, within a budget and only to hosts that the policy allows.

It uses the adapter of `requests` without a `Session`, since all that a Session adds is unwanted here: proxies, netrc
and CA bundles from the environment (`trust_env`), redirects, and cookies, which would pass from tenant to tenant.
"""

import io
import json as jsonlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.response import BaseHTTPResponse

from cwclient import jsons
from cwclient.address import AddressPolicy
from cwclient.classify import from_response
from cwclient.errors import (
    CaBundleUnreadable,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateRefused,
    CertificateUntrusted,
    ConnectWiseError,
    ServerTrouble,
    Unreachable,
)
from cwclient.framing import FramedResponse
from cwclient.sockets import CALL, BudgetTLSSocket, Call, CallBudget, open_connection

# As many as there are partners at once: each has a server of its own, or all use the cloud's (connectwise-api.md 1.1).
POOLED_HOSTS = 256
POOLED_CONNECTIONS_PER_HOST = 256
CHUNK = 64 * 1024
CODINGS = {"gzip", "x-gzip", "deflate"}
"""The content codings that every HTTP client is expected to decode (RFC 9110 8.4.1), and the standard library can."""


@dataclass(frozen=True)
class Response:
    """An answer, whatever its status. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, secrets: Sequence[str] = ()) -> object:
        """Return the value that a 2xx carries. Everything else raises `from_response()`, as do NaN and Infinity.

        A 206 has a part of it at most, as if that had been asked for (RFC 9110 15.3.7).
        """
        if 200 <= self.status < 300 and self.status != 206:
            try:
                return jsons.loads(self.body)
            except ValueError:
                pass
        raise from_response(self.status, self.headers, self.body, secrets=secrets)


Observe = Callable[[str, str, int | None, str, float], object]


def ignore(_method: str, _url: str, _status: int | None, _error: str, _seconds: float) -> None:
    """Observe nothing."""


class Transport:
    """Sends requests over pooled connections; safe from several threads at once.

    `ca_bundle` is PEM text, trusted besides the public authorities. `observe` is told of each request, also of one that
    failed: its method and URL, the status of the answer, the name of the error if there was none, and its seconds.
    Raises CaBundleUnreadable if the bundle cannot be read.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        budget: CallBudget | None = None,
        ca_bundle: str | None = None,
        observe: Observe = ignore,
    ) -> None:
        self._policy, self._observe = policy, observe
        self._budget = budget or CallBudget()
        self._adapter = _Adapter(_tls_context(ca_bundle))

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], json: object = None, seconds: float | None = None
    ) -> Response:
        """Make one call, with `json` as its body if given. Any status is an answer; redirects are not followed.

        `seconds`: less than the budget's total, if it is to take less.
        Raises Unreachable, ServerTrouble, ForbiddenHost, CertificateRefused.
        """
        started = time.monotonic()
        try:
            response = self._request(method, url, headers, json, seconds)
        except ConnectWiseError as error:
            self._observe(method, url, error.status, type(error).__name__, time.monotonic() - started)
            raise
        self._observe(method, url, response.status, "", time.monotonic() - started)
        return response

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], json: object, seconds: float | None
    ) -> Response:
        total = self._budget.total if seconds is None else min(seconds, self._budget.total)
        call = Call(self._policy, self._budget, deadline=time.monotonic() + total)
        token = CALL.set(call)
        try:
            request = _prepare(method, url, headers, json)
            try:
                return self._exchange(request)
            except _OUTSIDE as error:
                if not _was_stale(call, method, error):
                    raise
            call.fresh = True
            return self._exchange(request)
        except _OUTSIDE as error:
            raise _translate(call, error) from error
        finally:
            CALL.reset(token)

    def _exchange(self, request: requests.PreparedRequest) -> Response:
        answer = self._adapter.send(request, stream=True, timeout=self._budget.read)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = io.BytesIO()  # joining a list of pieces would hold all of it twice
        for piece in _decoded(answer.raw, headers.get("content-encoding", "")):
            body.write(piece)
            if body.tell() > self._budget.max_body:
                answer.raw.close()
                raise ServerTrouble(f"The answer is larger than {self._budget.max_body} bytes.", sent=True)
        return Response(answer.status_code, headers, body.getvalue())


def _decoded(raw: BaseHTTPResponse, encoding: str) -> Iterator[bytes]:
    """The body in pieces. Some servers compress although identity was asked for."""
    codings = [coding for coding in map(str.strip, encoding.lower().split(",")) if coding not in {"", "identity"}]
    if not set(codings) <= CODINGS:
        raw.close()
        raise ServerTrouble(f"The answer came with the encoding {encoding}, not asked for.", sent=True)
    raw.headers["Content-Encoding"] = ", ".join(codings)
    return raw.stream(CHUNK, decode_content=True)


def _prepare(method: str, url: str, headers: Mapping[str, str], json: object) -> requests.PreparedRequest:
    """Make the request. `requests` itself prepares what needs it: a full preparation costs as much as the sending."""
    # Identity: bytes on the wire, which the budget counts, are then those in memory.
    own = {"User-Agent": "phin-connectwise", "Accept-Encoding": "identity"}
    request = requests.PreparedRequest()
    request.method = method
    if _PLAIN_URL.fullmatch(url):
        request.url = url
    else:
        request.prepare_url(url, None)
    if json is not None:
        request.body = jsonlib.dumps(json, allow_nan=False).encode()
        own |= {"Content-Type": "application/json", "Content-Length": str(len(request.body))}
    request.prepare_headers({**own, **headers})
    return request


#: A URL that stays as it is: nothing in it is to be encoded, lower-cased or resolved.
_PLAIN_URL = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+", re.ASCII)

_OUTSIDE = (requests.RequestException, HTTPError, OSError)
_TIMEOUT = (requests.Timeout, HTTPTimeoutError)


def _was_stale(call: Call, method: str, error: Exception) -> bool:
    """True if a pooled connection was dead, so that the request may be made again on a fresh one.

    A write is repeated only if it certainly never arrived whole.
    """
    in_time = not isinstance(error, _TIMEOUT)
    return in_time and not call.opened and not call.received and (method == "GET" or not call.sent)


def _translate(call: Call, error: Exception) -> ConnectWiseError:
    if not call.sent:
        return Unreachable(f"The request could not be sent: {error}", sent=False)
    if isinstance(error, _TIMEOUT) or time.monotonic() >= call.deadline:
        return Unreachable("The server did not answer in time.", sent=True)
    return ServerTrouble("The connection broke before the answer was complete.", sent=True)


def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    # Not `create_default_context`, which writes session keys to a file that the environment names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BudgetTLSSocket
    context.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
    if ca_bundle is not None:
        # Whoever gives an authority that another has issued trusts it as it stands, without its root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=ca_bundle)
        except (ssl.SSLError, ValueError) as error:
            raise CaBundleUnreadable(f"The CA bundle is not readable PEM text ({error}).") from error
    return context


# X509_V_ERR_… of OpenSSL's x509_vfy.h: no issuer, or a self-signed one; dates; host name and IP address.
_REFUSALS: dict[int, type[CertificateRefused]] = {
    **dict.fromkeys((2, 18, 19, 20, 21), CertificateUntrusted),
    **dict.fromkeys((9, 10), CertificateExpired),
    **dict.fromkeys((62, 64), CertificateNameMismatch),
}


class _Connection(HTTPConnection):
    scheme = "http"
    response_class = FramedResponse
    _pieces: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        return open_connection(self.scheme, self.host, self.port)

    @property
    def is_connected(self) -> bool:
        return super().is_connected and not CALL.get().fresh

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's
        # Head and body in one piece: each piece is a system call, a TLS record and perhaps a packet of its own.
        self._pieces = []
        try:
            super().request(*args, **kwargs)
            request = b"".join(self._pieces)
        finally:
            self._pieces = None
        super().send(request)

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _TLSConnection(_Connection, HTTPSConnection):
    scheme = "https"

    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError as error:
            kind = _REFUSALS.get(error.verify_code, CertificateRefused)
            raise kind(f"The certificate of {self.host} is not trusted: {error.verify_message}.") from error
        except OSError as error:
            raise Unreachable(f"No secure connection to {self.host}: {error}.", sent=False) from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    """Gives the pools our connections and our TLS context. It never retries."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(pool_connections=POOLED_HOSTS, pool_maxsize=POOLED_CONNECTIONS_PER_HOST)
        self.poolmanager.connection_pool_kw["ssl_context"] = context
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> HTTPConnectionPool:
        """Return the pool of the request's server: there are no proxies, and one TLS context for all."""
        return self.poolmanager.connection_from_url(str(request.url))

    def request_url(self, request: requests.PreparedRequest, *_: object, **__: object) -> str:
        """Return the path and the query: there are no proxies."""
        return request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Make an answer without cookies and guesses at an encoding, which fail at absurd dates and numbers."""
        response = requests.Response()
        response.status_code, response.raw, response.request = resp.status, resp, req
        response.headers = CaseInsensitiveDict(resp.headers)
        return response

    def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
        """Leave it to the TLS context, which always verifies; requests would load a bundle for every connection."""
