"""Server-sent events: a page hears that what it shows has changed, and asks for that part anew."""

from collections.abc import AsyncIterator, Callable
from threading import Lock
from time import monotonic

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from store import StoreError, Tx
from worker.web.guard import user_of
from worker.web.visit import Refusal, Visit

LOOK_SECONDS = 0.4
ALIVE_SECONDS = 15.0
LONGEST = 600.0
"""A browser connects again by itself, so its rights are looked at again."""
AT_ONCE = 100


class _Places:
    """Streams that may be open at once in this process; pages without one ask again and again instead."""

    def __init__(self) -> None:
        self._lock, self._taken = Lock(), 0

    def take(self) -> bool:
        with self._lock:
            if self._taken >= AT_ONCE:
                return False
            self._taken += 1
            return True

    def free(self) -> None:
        with self._lock:
            self._taken -= 1


_PLACES = _Places()


def stream(visit: Visit, look: Callable[[Tx], tuple[object, bool]]) -> Response:
    """Events `change`, whenever what `look` returns is another; `end`, once it also returns True: nothing more comes.

    Raises Refusal if too many are open.
    """
    if not _PLACES.take():
        raise Refusal(503, "Too many pages follow something", "This one asks every few seconds instead.")
    return StreamingResponse(_events(visit, look), media_type="text/event-stream")


async def _events(visit: Visit, look: Callable[[Tx], tuple[object, bool]]) -> AsyncIterator[bytes]:
    try:
        before: object = None
        began = said = monotonic()
        yield b"retry: 1000\n\n"
        while not visit.site.closing.is_set() and monotonic() < began + LONGEST:
            try:
                found, is_over = await run_in_threadpool(_look, visit, look)
            except StoreError:
                found, is_over = before, False
            is_changed = found != before
            if is_changed or monotonic() > said + ALIVE_SECONDS:
                before, said = found, monotonic()
                # Whoever has signed out hears nothing more.
                if await run_in_threadpool(_is_let_in, visit):
                    yield b"event: change\ndata: \n\n" if is_changed else b": alive\n\n"
                else:
                    is_over = True
            if is_over:
                yield b"event: end\ndata: \n\n"
                return
            await anyio.sleep(LOOK_SECONDS)
    finally:
        _PLACES.free()


def _is_let_in(visit: Visit) -> bool:
    """True as long as the visitor's session and rights are those that the stream began with."""
    return user_of(visit.site, visit.token, is_use=False) == visit.user


def _look(visit: Visit, look: Callable[[Tx], tuple[object, bool]]) -> tuple[object, bool]:
    with visit.site.database.begin() as tx:
        return look(tx)
