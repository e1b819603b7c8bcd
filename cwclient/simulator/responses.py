"""Responses that behave badly on purpose: none at all, never ending, or in drips."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

_BLANKS = b" " * 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class NoResponse(Response):
    """Close the connection without a response: with a TCP reset, or as a peer that went away.

    Needs the connection's transport in `scope["state"]`, where `server.Protocol` puts it: ASGI itself knows no way.
    """

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - sends nothing
        """Close the connection and wait until it is closed, so that uvicorn does not answer 500."""
        transport: asyncio.Transport = scope["state"]["transport"]
        if self._reset:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        await _gone(receive)


class Hanging(Response):
    """Send nothing until the client goes away, or the server ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - sends nothing
        """Wait for the end of the connection."""
        await _gone(receive)


def dripping(body: bytes, status: int, media_type: str, seconds: float) -> StreamingResponse:
    """Send a body one byte every `seconds`."""

    async def drip() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])
            await asyncio.sleep(seconds)

    return StreamingResponse(drip(), status, {"Content-Length": str(len(body))}, media_type)


def padded(body: bytes, status: int, media_type: str, size: int) -> StreamingResponse:
    """Send a body and then blanks, `size` bytes in all, without holding them in memory."""
    size = max(size, len(body))

    async def pad() -> AsyncIterator[bytes]:
        yield body
        left = size - len(body)
        while left:
            chunk = _BLANKS[:left]
            left -= len(chunk)
            yield chunk
            await asyncio.sleep(0)

    return StreamingResponse(pad(), status, {"Content-Length": str(size)}, media_type)


def endless(status: int, media_type: str) -> StreamingResponse:
    """Send blanks until the client goes away."""

    async def run() -> AsyncIterator[bytes]:
        while True:
            yield _BLANKS
            # A closed connection takes every chunk at once: let the loop see that it is closed.
            await asyncio.sleep(0)

    return StreamingResponse(run(), status, media_type=media_type)
