"""Threads that handle deliveries: each kind has its own, so a slow kind delays no other."""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread

from worker.delivery import Delivery, Verdict

_Item = tuple[Delivery, Callable[[Verdict], None]]


class Lane:
    """The threads of one kind, started as they are needed.

    Each takes what is there, up to `batch` at once, so batches grow only under load.
    """

    def __init__(
        self, kind: str, handle: Callable[[Sequence[Delivery]], list[Verdict]], *, threads: int, batch: int = 1
    ) -> None:
        self._kind, self._handle, self._most, self._batch = kind, handle, threads, batch
        self._items: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._idle = Semaphore(0)

    def put(self, delivery: Delivery, settle: Callable[[Verdict], None]) -> None:
        """Have it handled; `settle` is called with the verdict. Call it from one thread only."""
        self._items.put((delivery, settle))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            thread = Thread(target=self._work, name=f"{self._kind}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Let the threads end after what they have; whether they did within `timeout` seconds each."""
        for _ in self._threads:
            self._items.put(None)
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (first := self._items.get()) is not None:
            items = [first]
            while len(items) < self._batch:
                try:
                    item = self._items.get_nowait()
                except Empty:
                    break
                if item is None:
                    self._items.put(None)
                    break
                items.append(item)
            verdicts = self._handle([delivery for delivery, _ in items])
            for (_, settle), verdict in zip(items, verdicts, strict=True):
                settle(verdict)
            self._idle.release()
