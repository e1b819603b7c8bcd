"""Threads of the pages carry out what was begun on them, also by pages whose process has ended."""

from threading import Event, Thread
from typing import Self

import structlog

from store import Database, StoreError, operation_claims
from store.operation_claims import ClaimLost
from store.operation_queries import Operation
from worker.operations import conduct

LOOK_SECONDS = 2.0
AT_ONCE = 4
"""A letter that is replayed alone must not wait for the end of a replay of thousands."""

log = structlog.get_logger()


class OperationRunner:
    """A context manager: carries out up to AT_ONCE operations at a time; the `bell` rings when one was begun."""

    def __init__(self, database: Database, bell: Event) -> None:
        self._database, self._bell = database, bell
        self._stop = Event()
        self._threads = [Thread(target=self._run, name=f"operations-{number}") for number in range(AT_ONCE)]

    def __enter__(self) -> Self:
        """Look for operations from now on."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, within the time of one message; what is under way goes on with the next process of pages."""
        self._stop.set()
        self._bell.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        token = conduct.new_token()
        while not self._stop.is_set():
            self._bell.clear()
            try:
                with self._database.begin() as tx:
                    operation = operation_claims.claim(tx, token)
                if operation is not None:
                    self._carry_out(operation, token)
                    continue
            except StoreError as error:
                log.warning("operation.waits", error=str(error))
            except Exception:
                log.exception("operation.failed")
            self._bell.wait(LOOK_SECONDS)

    def _carry_out(self, operation: Operation, token: str) -> None:
        named = {"operation": operation.id, "kind": operation.kind, "by": operation.begun_by}
        log.info("operation.begun", **named, letters=operation.total)
        try:
            conduct.carry_out(self._database, operation, token, stop=self._stop)
        except ClaimLost:
            log.info("operation.taken_over", **named)
            return
        with self._database.begin() as tx:
            operation_claims.let_go(tx, operation.id, token)
        log.info("operation.ended", **named)
