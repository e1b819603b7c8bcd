"""The platform's reader of results: it tells when the last answer that was waited for has come."""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Self

import pika

from messages import FINAL

PREFETCH = 1_000


class Answer(NamedTuple):
    """The final result of a company's line, or with no company the completion of a push."""

    push_id: str
    company_id: str | None


class ResultsQueue:
    """A context manager: a thread reads the queue inside it."""

    def __init__(self, url: str, queue: str) -> None:
        self._url, self._queue = url, queue
        self._thread = threading.Thread(target=self._read, name="results")
        self._stop, self._all_came = threading.Event(), threading.Event()
        self._missing = set[Answer]()
        self._last_came = 0.0
        self.statuses = Counter[str]()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def expect(self, answers: Iterable[Answer]) -> None:
        """From now on wait for these; call it before they are asked for."""
        self.statuses.clear()
        self._all_came.clear()
        self._missing = set(answers)

    def wait(self, seconds: float) -> float:
        """Return when the last of them came, by `perf_counter`. Raises TimeoutError."""
        if not self._all_came.wait(seconds):
            raise TimeoutError(f"{len(self._missing)} answers have not come in {seconds:g} s; came: {self.statuses}")
        return self._last_came

    def _read(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=PREFETCH)
            for method, properties, body in channel.consume(self._queue, inactivity_timeout=0.1):
                if self._stop.is_set():
                    channel.cancel()
                    return
                if method is not None:
                    self._take(properties.type, json.loads(body))
                    channel.basic_ack(method.delivery_tag)

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "push.completed.v1":
            answer = Answer(content["push_id"], None)
        elif kind == "sync.result.v1" and content["status"] in FINAL:
            answer = Answer(content["push_id"], content["company_id"])
            self.statuses[content["status"]] += 1
        else:
            return
        if answer in self._missing:
            self._missing.remove(answer)
            if not self._missing:
                self._last_came = perf_counter()
                self._all_came.set()
