"""Threads that handle deliveries: each kind has its own, so a slow kind delays no other."""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from worker.delivery import Delivery, Verdict

_Item = tuple[Delivery, Callable[[Verdict], None]]


class Lane:
    """The threads of one kind. Each takes what is there, up to `batch` at once, so batches grow only under load."""

    def __init__(
        self, kind: str, handle: Callable[[Sequence[Delivery]], list[Verdict]], *, threads: int, batch: int = 1
    ) -> None:
        self._handle, self._batch = handle, batch
        self._items: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"{kind}-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, delivery: Delivery, settle: Callable[[Verdict], None]) -> None:
        """Have it handled; `settle` is called with the verdict."""
        self._items.put((delivery, settle))

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
