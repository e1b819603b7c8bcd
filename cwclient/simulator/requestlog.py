"""The request log: one record per request, for tests and for people."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypedDict


class RequestRecord(TypedDict):
    """One request. `tenant` is the company that was named; `status` is None if no response was sent.

    `fault` is the kind of the fault that hit it; quantities and `body` (the operations) are those of a PATCH. Keys and
    headers are never in it.
    """

    time: str
    tenant: str | None
    method: str
    path: str
    query: str
    status: int | None
    fault: str | None
    quantity_before: float | None
    quantity_after: float | None
    body: object


def now() -> str:
    """Return the time for a record: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RequestLog:
    """Keeps records in memory, and appends them to a file as JSON Lines, flushed line by line, if one is given."""

    def __init__(self, path: Path | None = None) -> None:
        self.records: list[RequestRecord] = []
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def append(self, record: RequestRecord) -> None:
        """Add a record."""
        with self._lock:
            self.records.append(record)
            if self._file:
                self._file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def clear(self) -> None:
        """Forget the records in memory; the file keeps them."""
        with self._lock:
            self.records.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
