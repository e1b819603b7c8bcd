"""A session of a command: settings, the store, and a way to have work done and to wait for it.

With `local:` a command runs the worker itself while it waits; otherwise it publishes to RabbitMQ. Either way it reads
the progress in the store.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep
from typing import Any, Never

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from messages import Message
from store import Database, StoreError, Tx, migrate, now
from worker import logs
from worker.bootstrap import open_database
from worker.cli.display.output import complain, err, safe
from worker.cli.exits import INTERRUPTED
from worker.coordination import waiting
from worker.coordination.sending import Sender
from worker.settings import NEEDED_TO_WORK, Settings, load

POLL_SECONDS = 0.2
STALLED_SECONDS = 15.0

WHY_EVERY = 2.0
"""Seconds without progress between two looks for its cause."""


@dataclass(frozen=True)
class WorkProgress:
    """Progress: `done` of `total`; `accepted`: a worker has begun; `news`: anything else whose change is progress."""

    done: int
    total: int
    accepted: bool
    finished: bool
    news: object = None


class Session:
    """The installation that the settings name, with tables that fit."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database

    def now(self) -> datetime:
        """The time by the database's clock, which orders the requests of all commands and platforms."""
        with self.database.begin() as tx:
            return now(tx)

    def carry_out(
        self,
        messages: Sequence[Message],
        read_progress: Callable[[Tx], WorkProgress],
        *,
        what: str,
        timeout: float,
        wait: bool,
        sent: str | None = None,
        see: str | None = None,
        unit: str = "check",
    ) -> bool:
        """Send messages and, if `wait`, wait until `read_progress` says that they are finished. Returns True if so.

        `what` is shown before the progress bar, `sent` on standard error once the messages are safe. Ctrl-C ends the
        program with a message: how many of `unit` wait, how they go on, and the command to `see` them. Raises
        PublishError, Unroutable, StoreError, or SettingsError.
        """
        if not wait:
            self._publish(messages)
            self._say(sent)
            return False
        is_sent = False
        try:
            with bar(what) as shown, self.working():
                self._publish(messages)
                is_sent = True
                self._say(sent)
                finished = self._wait(read_progress, shown, timeout, messages[0].partner_id)
        except KeyboardInterrupt:
            self._interrupted(read_progress, see, unit, is_sent=is_sent)
        if not finished:
            self._say(self.why_waiting(messages[0].partner_id))
        return finished

    def why_waiting(self, partner_id: str) -> str | None:
        """The reason why the partner's work waits; None if it is not known."""
        with self.database.begin() as tx:
            return waiting.reason(tx, self.settings, partner_id)

    def goes_on(self, waiting: int, unit: str, see: str | None) -> str:
        """Text that says how waiting work goes on after this command, and which command shows it."""
        told = f"{waiting:,} {unit} waits; it goes on" if waiting == 1 else f"{waiting:,} {unit}s wait; they go on"
        how = 'with "phin-connectwise worker" or the next push' if self.settings.is_embedded else "with the worker"
        return f"{told} {how}.{f' See: {see}' if see else ''}"

    def _interrupted(
        self, read_progress: Callable[[Tx], WorkProgress], see: str | None, unit: str, *, is_sent: bool
    ) -> Never:
        if not is_sent:
            complain("Stopped before all was sent. Running the command again is safe.")
            raise typer.Exit(INTERRUPTED)
        try:
            with self.database.begin() as tx:
                progress = read_progress(tx)
        except StoreError as error:
            complain(f"Stopped. What was sent is kept. Database: {error}")
        else:
            waiting = 0 if progress.finished else progress.total - progress.done
            complain(f"Stopped. {self.goes_on(waiting, unit, see)}" if waiting else f"Stopped; all is done. See: {see}")
        raise typer.Exit(INTERRUPTED)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the worker meanwhile if there is no broker."""
        if not self.settings.is_embedded:
            yield
            return
        from worker.app import build

        app = build(self.settings)
        try:
            with app:
                yield
        finally:
            app.database.close()

    def _publish(self, messages: Sequence[Message]) -> None:
        with Sender(self.settings, self.database) as sender:
            sender.send(messages)

    @staticmethod
    def _say(sent: str | None) -> None:
        if sent is not None:
            complain(sent)

    def _wait(
        self, read_progress: Callable[[Tx], WorkProgress], bar: Progress, timeout: float, partner_id: str
    ) -> bool:
        task = bar.task_ids[0]
        until = monotonic() + timeout
        last, moved_at = WorkProgress(0, 0, accepted=False, finished=False), monotonic()
        reported: str | None = None
        next_look = moved_at + WHY_EVERY
        while monotonic() < until:
            progress, trouble = last, None
            try:
                with self.database.begin() as tx:
                    progress = read_progress(tx)
            except StoreError as error:
                # The messages are safe, and the worker waits for the database too.
                trouble = f"Database: {error}. Still waiting."
            if progress.finished:
                return True
            bar.update(task, completed=progress.done, total=progress.total)
            if progress != last:
                last, moved_at, next_look = progress, monotonic(), monotonic() + WHY_EVERY
            elif monotonic() > next_look:
                cause = trouble or self._why(progress, partner_id, stalled=monotonic() > moved_at + STALLED_SECONDS)
                if cause not in {None, reported}:
                    bar.console.print(safe(cause), soft_wrap=True)
                    reported = cause
                next_look = monotonic() + WHY_EVERY
            sleep(POLL_SECONDS)
        return False

    def _why(self, progress: WorkProgress, partner_id: str, *, stalled: bool) -> str | None:
        """The reason why there is no progress; None = not known, and not for long yet."""
        with suppress(StoreError):
            if (known := self.why_waiting(partner_id)) is not None:
                return f"{known} Still waiting."
        if not stalled:
            return None
        cause = ": ConnectWise may be slow or away" if progress.accepted and progress.done < progress.total else ""
        return f"Nothing has moved for {STALLED_SECONDS:g} s{cause}. Still waiting."


@contextmanager
def session(overrides: Mapping[str, Any] | None = None, *, works: bool = False) -> Iterator[Session]:
    """Open the installation. `works`: without a broker the command runs a worker, whose settings are then required.

    Raises SettingsError, StoreUnavailable, SchemaOutdated.
    """
    logs.configure("warning", "console")
    # pika logs a traceback for a broker that is away; the error itself says it.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    settings = load(overrides, required_if_embedded=NEEDED_TO_WORK if works else ())
    database = open_database(settings)
    try:
        migrate.check(database)
        yield Session(settings, database)
    finally:
        database.close()


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error, if that is a terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        # The progress bar stands in for standard error now, so that log lines do not tear it.
        logs.configure("warning", "console")
        shown.add_task(safe(what).plain, total=None)
        yield shown


def still_running(see: str) -> None:
    """Print that the work was not finished in time."""
    complain(f"Not finished in time; it goes on as soon as a worker runs. See it with `{see}`.")
