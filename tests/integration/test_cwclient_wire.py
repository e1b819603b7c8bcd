"""Forms of an answer that a proxy in front of a server may make (RFC 9110, RFC 9112), and what becomes of them.

The names of the cases are the table: the form, and what we do with it.
"""

import gzip
import json
import socket
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwclient import AddressPolicy, CallBudget, ConnectWiseError, ServerTrouble, Unreachable
from cwclient.transport import Transport
from tests.support.raw_server import Server, Talk, reply

Start = Callable[..., Server]
Connect = Callable[..., Transport]
BODY = b'{"n": 1}'
NEXT = b'{"n": 2}'
HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = reply(BODY)
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)


def _with(*lines: bytes, body: bytes = BODY, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """An answer of these header lines besides its length."""
    return b"\r\n".join((status, *lines, b"Content-Length: %d" % len(body), b"", body))


def _bare(*lines: bytes, body: bytes = BODY, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """An answer of exactly these header lines."""
    return b"\r\n".join((status, *lines, b"", body))


READ = {
    # RFC 9110 15.2: interim answers
    "100 before the answer: skipped": b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
    "102 and 103 before the answer: skipped": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
    b"Link: </s.css>; rel=preload\r\nContent-Length: 3\r\n\r\n" + WHOLE,
    # RFC 9110 8.4: codings
    "gzip: decoded": _with(b"Content-Encoding: gzip", body=gzip.compress(BODY)),
    "x-gzip, in capitals: decoded": _with(b"CONTENT-ENCODING: X-GZIP", body=gzip.compress(BODY)),
    "deflate: decoded": _with(b"Content-Encoding: deflate", body=zlib.compress(BODY)),
    "deflate without its wrapper: decoded": _with(
        b"Content-Encoding: deflate", body=RAW_DEFLATE.compress(BODY) + RAW_DEFLATE.flush()
    ),
    "gzip twice: decoded": _with(b"Content-Encoding: gzip, gzip", body=gzip.compress(gzip.compress(BODY))),
    "gzip beside identity: decoded": _with(b"Content-Encoding: identity , gzip", body=gzip.compress(BODY)),
    "identity said aloud: as it is": _with(b"Content-Encoding: identity"),
    "gzip in chunks: decoded": _bare(
        b"Content-Encoding: gzip",
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(gzip.compress(BODY)), gzip.compress(BODY)),
    ),
    # RFC 9112 6 and 7: framing
    "chunks with extensions and a trailer: joined": _bare(
        b"Transfer-Encoding: chunked", body=b'3;a=b\r\n{"n\r\n005 ; c\r\n": 1}\r\n0\r\nExpires: never\r\n\r\n'
    ),
    "chunked in capitals: joined": _bare(b"Transfer-Encoding: Chunked ", body=b"8\r\n%b\r\n0\r\n\r\n" % BODY),
    "chunked and a length: chunked counts": _bare(
        b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"8\r\n%b\r\n0\r\n\r\n" % BODY
    ),
    "the same length twice: read": _bare(b"Content-Length: 8", b"Content-Length: 8"),
    "the same length in one line: read": _bare(b"Content-Length: 8, 8"),
    "a length with zeros before it: read": _bare(b"Content-Length: 00000008"),
    "bytes after the answer: left": WHOLE + b"xyz",
    # RFC 9112 2 to 5: the head
    "bare line feeds: read": WHOLE.replace(b"\r\n", b"\n"),
    "no reason: read": _with(status=b"HTTP/1.1 200"),
    "a later minor version: read": _with(status=b"HTTP/1.9 200 OK"),
    "a folded header: read": _with(b"X-A: b", b"  c", b"X-Empty:"),
    "bytes above ASCII in a header: read": _with(b"X-A: \xff\xc3\xa4"),
    "names in any case: read": WHOLE.replace(b"Content-Length", b"cONTENT-lENGTH"),
    "203, changed by a proxy: read": _with(status=b"HTTP/1.1 203 Non-Authoritative Information"),
    # RFC 9110 5.6.7, RFC 6265: absurd dates and numbers
    "absurd dates: not looked at": _with(
        b"Date: Thu, 99 Foo 99999 99:99:99 GMT", b"Expires: -1", b"Last-Modified: ", b"Age: " + b"9" * 5000
    ),
    "absurd cookies: not looked at": _with(
        b"Set-Cookie: a=b; Expires=Thu, 01 Jan 99999 00:00:00 GMT; Max-Age=" + b"9" * 5000, b"Set-Cookie: =; =;;"
    ),
    "an absurd Retry-After: not looked at": _with(b"Retry-After: Thu, 01 Jan 2026 00:00:00 +99999999999999"),
    "an absurd Content-Type: not looked at": _with(b"Content-Type: text/html; charset=\xff; =;;"),
    "an absurd Keep-Alive: not looked at": _with(b"Keep-Alive: timeout=-1, max=1e999"),
    "a byte order mark: skipped": _with(body=b"\xef\xbb\xbf" + BODY),
}
READ_UNTIL_CLOSE = {
    "no length: read until it closes": _bare(),
    "HTTP/1.0: read until it closes": _bare(status=b"HTTP/1.0 200 OK"),
    "Connection: close, chunked, the last line missing: read": _bare(
        b"Transfer-Encoding: chunked", b"Connection: close", body=b"8\r\n%b\r\n0\r\n" % BODY
    ),
}
REFUSED = {
    "101: to no other protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + WHOLE,
    "lengths that differ: whose bytes?": _bare(b"Content-Length: 8", b"Content-Length: 2"),
    "lengths that differ in one line: whose bytes?": _bare(b"Content-Length: 8, 2"),
    "a negative length: none": _bare(b"Content-Length: -8"),
    "a length with a sign: none": _bare(b"Content-Length: +8"),
    "a length with a low line: none": _bare(b"Content-Length: 0_8"),
    "a length in words: none": _bare(b"Content-Length: eight"),
    "a length of 5000 digits: none": _bare(b"Content-Length: " + b"8" * 5000),
    "gzip as a transfer coding: not asked for": _bare(
        b"Transfer-Encoding: gzip, chunked", body=b"8\r\n%b\r\n0\r\n\r\n" % BODY
    ),
    "chunked twice: not asked for": _bare(
        b"Transfer-Encoding: chunked, chunked", body=b"8\r\n%b\r\n0\r\n\r\n" % BODY
    ),
    "an unknown transfer coding: not asked for": _bare(b"Transfer-Encoding: x", b"Content-Length: 8"),
    "a chunk without a size: broken": _bare(b"Transfer-Encoding: chunked", body=b"x\r\n%b\r\n0\r\n\r\n" % BODY),
    "brotli: not decoded": _with(b"Content-Encoding: br"),
    "an unknown coding: not decoded": _with(b"Content-Encoding: utf-8"),
    "gzip that is none: broken": _with(b"Content-Encoding: gzip"),
    "gzip that breaks off: broken": _with(b"Content-Encoding: gzip", body=gzip.compress(BODY)[:-12]),
    "a blank before the colon: unreadable": _bare(b"Content-Length : 8"),
    "a line that is no header: unreadable": _with(b"what is this"),
    "HTTP/2 in clear: another protocol": _with(status=b"HTTP/2 200"),
    "a status of no number: unreadable": _with(status=b"HTTP/1.1 abc OK"),
    "204: without the record": b"HTTP/1.1 204 No Content\r\n\r\n",
    "205: without the record": _with(status=b"HTTP/1.1 205 Reset Content", body=b""),
    "206: a part of it": _with(b"Content-Range: bytes 0-7/99", status=b"HTTP/1.1 206 Partial Content"),
}  # fmt: skip
ELSEWHERE = {
    "304: nothing was asked on condition": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n",
    "305: no proxy that a server names": _with(b"Location: http://x/", status=b"HTTP/1.1 305 Use Proxy", body=b""),
    "a status of nobody's: like a gateway's": _with(status=b"HTTP/1.1 999 Denied", body=b"no"),
}


def _once(answer: bytes, *, close: bool = False) -> Talk:
    """Give the answer to the first request, and an ordinary one to those that follow, on this connection or another."""

    def talk(server: Server, connection: socket.socket) -> None:
        while True:
            server.read(connection)
            first = len(server.requests) == 1
            connection.sendall(answer if first else reply(NEXT))
            if first and close:
                return

    return talk


def _second(transport: Transport, server: Server) -> object:
    return transport.request("GET", server.url, headers={}).json()


@pytest.mark.parametrize("form", [*READ, *READ_UNTIL_CLOSE])
def test_a_legal_form_is_read(form: str, start: Start, connect: Connect) -> None:
    """An answer is read in any lawful form that a proxy makes of it, and the next request gets its own answer."""
    server = start(_once((READ | READ_UNTIL_CLOSE)[form], close=form in READ_UNTIL_CLOSE))
    transport = connect(CallBudget())
    assert transport.request("PATCH", server.url, headers={}, json=[]).json() == json.loads(BODY)
    assert _second(transport, server) == json.loads(NEXT)
    assert len(server.requests) == 2


@pytest.mark.parametrize("form", REFUSED)
def test_a_form_that_is_ambiguous_or_broken_leaves_a_write_uncertain(form: str, start: Start, connect: Connect) -> None:
    """It is found at once, not by a timeout; the write is read again, and no later request gets the rest of it."""
    server = start(_once(REFUSED[form]))
    transport = connect(CallBudget())
    with pytest.raises(ServerTrouble) as caught:
        transport.request("PATCH", server.url, headers={}, json=[]).json()
    assert caught.value.sent
    assert _second(transport, server) == json.loads(NEXT)
    assert len(server.requests) == 2


@pytest.mark.parametrize("form", ELSEWHERE)
def test_a_status_that_answers_nothing_is_waited_out(form: str, start: Start, connect: Connect) -> None:
    """A cache or a proxy in the way is no wrong URL."""
    server = start(_once(ELSEWHERE[form]))
    transport = connect(CallBudget())
    with pytest.raises(Unreachable):
        transport.request("GET", server.url, headers={}).json()
    assert _second(transport, server) == json.loads(NEXT)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.integers(100, 999),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["Content-Length", "Transfer-Encoding", "Content-Encoding", "Retry-After", "Date", "Set-Cookie", "Link",
                 "Location", "Content-Type", "Connection", "Api-Current-Version"]
            ),
            st.one_of(
                st.sampled_from(["chunked", "gzip", "0", "8", "-1", "1e9", "close", "Thu, 01 Jan 0 0:0:0 GMT"]),
                st.binary(max_size=40).map(lambda value: value.decode("latin-1")),
            ),
        ),
        max_size=4,
    ),
    body=st.binary(max_size=60),
)  # fmt: skip
def test_any_bytes_give_an_answer_or_an_error_of_ours(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """No answer, however absurd its dates, numbers and framing, ends as an internal error."""

    def talk(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    server, transport = Server(talk), Transport(AddressPolicy(["127.0.0.0/8"]), CallBudget(total=5))
    try:
        transport.request("GET", server.url, headers={}).json()
    except ConnectWiseError:
        pass
    finally:
        transport.close()
        server.close()
