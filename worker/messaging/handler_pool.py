"""Threads that handle deliveries: each kind has a pool of its own, so that a slow kind delays no other."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from threading import Condition, Event, Thread, current_thread
from time import monotonic
from typing import Generic, TypeVar

import structlog

from store.database import AT_ONCE_BYTES
from worker.messaging.broker import Settle, Settlement

IDLE_SECONDS = 5.0
FAILED_SECONDS = 1.0

log = structlog.get_logger()

T = TypeVar("T")


class HandlerPool(Generic[T]):
    """The threads of one kind, which start when they are needed and end when they have been idle for a while.

    A thread takes the items that are there, one of each `owner` in turn, up to `batch` at once, so batches grow only
    under load. If `size` gives the bytes of an item, a batch has AT_ONCE_BYTES at most, or is a single item.
    """

    def __init__(
        self,
        kind: str,
        handle: Callable[[Sequence[T]], list[Settlement]],
        *,
        threads: int,
        batch: int = 1,
        size: Callable[[T], int] = lambda _: 0,
        owner: Callable[[T], Hashable] = lambda _: None,
    ) -> None:
        self._kind, self._handle, self._most, self._batch, self._size = kind, handle, threads, batch, size
        self._items: _InTurn[tuple[T, Settle]] = _InTurn(lambda item: owner(item[0]))
        self._threads: list[Thread] = []
        self._waiting = 0
        self._stopping = False
        self._changed = Condition()

    def put(self, item: T, settle: Settle) -> None:
        """Have an item handled; `settle` is called with its settlement."""
        with self._changed:
            self._items.put((item, settle))
            if len(self._items) <= self._waiting:
                self._changed.notify()
            elif len(self._threads) < self._most:
                thread = Thread(target=self._work, name=self._kind, daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self, until: float) -> bool:
        """Let the threads end after what they have. Returns False if one still runs at this monotonic time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = [*self._threads]
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        """Handle and settle batches. After an error the messages are delivered again, and the thread goes on."""
        pause = Event()
        while taken := self._take():
            items = [(item, settle) for item, settle in taken if not _is_void(settle)]
            del taken  # while it waits, a thread keeps nothing: these may be huge
            if not items:
                continue
            try:
                settlements = self._handle([item for item, _ in items])
            except Exception:
                log.exception("messages.failed")
                pause.wait(FAILED_SECONDS)
                settlements = [Settlement.REQUEUE] * len(items)
            for (_, settle), settlement in zip(items, settlements, strict=True):
                settle(settlement)
            del items

    def _take(self) -> list[tuple[T, Settle]]:
        """Wait for an item; take up to a batch. Empty = this thread ends."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._items or self._stopping, IDLE_SECONDS)
            self._waiting -= 1
            if not self._items:
                self._threads.remove(current_thread())
            taken, room = list[tuple[T, Settle]](), AT_ONCE_BYTES
            while self._items and len(taken) < self._batch:
                room -= self._size(self._items.next[0])
                if taken and room < 0:
                    break
                taken.append(self._items.take())
            return taken


class _InTurn(Generic[T]):
    """Items that wait: one of each owner in turn, of the same owner the oldest first."""

    def __init__(self, owner: Callable[[T], Hashable]) -> None:
        self._owner = owner
        self._by_owner: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: T) -> None:
        """Add an item."""
        self._by_owner.setdefault(self._owner(item), deque()).append(item)
        self._count += 1

    @property
    def next(self) -> T:
        """The item that `take` returns."""
        return next(iter(self._by_owner.values()))[0]

    def take(self) -> T:
        """Take the item whose turn it is."""
        owner, items = self._by_owner.popitem(last=False)
        item = items.popleft()
        if items:
            self._by_owner[owner] = items
        self._count -= 1
        return item


def _is_void(settle: Settle) -> bool:
    """True if the delivery's connection is lost: it is dropped, so that its redelivery can be handled."""
    is_void = settle.lost.is_set()
    if is_void:
        settle(Settlement.RELEASE)
    return is_void
