"""The means that a command works with: settings, store, and a way to have work done and wait for it.

With `local:` a command that needs work done runs the worker itself meanwhile; otherwise it publishes to RabbitMQ and
reads in the store what becomes of it.
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

from messages import EXCHANGE_IN, Message, Publisher
from store import Database, StoreError, Tx, migrate, now
from worker import logs
from worker.bootstrap import open_broker, open_database, publish
from worker.cli import waiting
from worker.cli.display.output import complain, err, safe
from worker.cli.exits import INTERRUPTED
from worker.settings import NEEDED_TO_WORK, Settings, load

POLL_SECONDS = 0.2
STALLED_SECONDS = 15.0

WHY_EVERY = 2.0
"""Seconds without news after which the cause is looked for, and again each time."""


@dataclass(frozen=True)
class WorkProgress:
    """The progress of something: `done` of `total`; `accepted` = a worker has taken it on; anything else that moves."""

    done: int
    total: int
    accepted: bool
    finished: bool
    news: object = None


class Session:
    """The installation that the settings name. Its tables are those of this version."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database

    def now(self) -> datetime:
        """The database's clock: what a command asks for is ordered among what others ask for."""
        with self.database.begin() as tx:
            return now(tx)

    def carry_out(
        self,
        messages: Sequence[Message],
        look: Callable[[Tx], WorkProgress],
        *,
        what: str,
        timeout: float,
        wait: bool,
        sent: str | None = None,
        see: str | None = None,
        unit: str = "check",
    ) -> bool:
        """Send messages and, if `wait`, wait for what comes of them; whether it is finished.

        `what` is shown before the progress bar, `sent` on standard error once the messages are safe. Ctrl-C ends the
        program, having said how many of what `unit` names wait, how they go on, and the command to `see` them. Raises
        a PublishError, Unroutable, StoreError, or SettingsError.
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
                finished = self._wait(look, shown, timeout, messages[0].partner_id)
        except KeyboardInterrupt:
            self._interrupted(look, see, unit, is_sent=is_sent)
        if not finished:
            self._say(self.why_waiting(messages[0].partner_id))
        return finished

    def why_waiting(self, partner_id: str) -> str | None:
        """Return the reason that the partner's work waits, as far as it is known."""
        with self.database.begin() as tx:
            return waiting.reason(tx, self.settings, partner_id)

    def goes_on(self, waiting: int, unit: str, see: str | None) -> str:
        """Say how work that waits goes on when this command is over, and where that is seen."""
        told = f"{waiting:,} {unit} waits; it goes on" if waiting == 1 else f"{waiting:,} {unit}s wait; they go on"
        how = 'with "phin-connectwise worker" or the next push' if self.settings.is_embedded else "with the worker"
        return f"{told} {how}.{f' See: {see}' if see else ''}"

    def _interrupted(self, look: Callable[[Tx], WorkProgress], see: str | None, unit: str, *, is_sent: bool) -> Never:
        if not is_sent:
            complain("Stopped before all was sent. Running the command again is safe.")
            raise typer.Exit(INTERRUPTED)
        try:
            with self.database.begin() as tx:
                seen = look(tx)
        except StoreError as error:
            complain(f"Stopped. What was sent is kept. Database: {error}")
        else:
            waiting = 0 if seen.finished else seen.total - seen.done
            complain(f"Stopped. {self.goes_on(waiting, unit, see)}" if waiting else f"Stopped; all is done. See: {see}")
        raise typer.Exit(INTERRUPTED)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the worker meanwhile if there is no broker, and so perhaps no other one."""
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
        if self.settings.is_embedded:
            publish(open_broker(self.settings, self.database), messages)
        else:
            url = self.settings.broker_url.get_secret_value()
            exchange, ca_file = f"{self.settings.queue_prefix}{EXCHANGE_IN}", self.settings.broker_ca_file
            with Publisher(url, exchange=exchange, ca_file=ca_file) as publisher:
                publisher.publish_many(messages)

    @staticmethod
    def _say(sent: str | None) -> None:
        if sent is not None:
            complain(sent)

    def _wait(self, look: Callable[[Tx], WorkProgress], bar: Progress, timeout: float, partner_id: str) -> bool:
        task = bar.task_ids[0]
        until = monotonic() + timeout
        last, moved_at = WorkProgress(0, 0, accepted=False, finished=False), monotonic()
        told: str | None = None
        look_why_at = moved_at + WHY_EVERY
        while monotonic() < until:
            seen, trouble = last, None
            try:
                with self.database.begin() as tx:
                    seen = look(tx)
            except StoreError as error:
                # What was sent is safe, and the worker waits for the database too.
                trouble = f"Database: {error}. Still waiting."
            if seen.finished:
                return True
            bar.update(task, completed=seen.done, total=seen.total)
            if seen != last:
                last, moved_at, look_why_at = seen, monotonic(), monotonic() + WHY_EVERY
            elif monotonic() > look_why_at:
                cause = trouble or self._why(seen, partner_id, stalled=monotonic() > moved_at + STALLED_SECONDS)
                if cause not in {None, told}:
                    bar.console.print(safe(cause), soft_wrap=True)
                    told = cause
                look_why_at = monotonic() + WHY_EVERY
            sleep(POLL_SECONDS)
        return False

    def _why(self, seen: WorkProgress, partner_id: str, *, stalled: bool) -> str | None:
        """Return the reason that nothing moves; None = not known, and not for long."""
        with suppress(StoreError):
            if (known := self.why_waiting(partner_id)) is not None:
                return f"{known} Still waiting."
        if not stalled:
            return None
        cause = ": ConnectWise may be slow or away" if seen.accepted and seen.done < seen.total else ""
        return f"Nothing has moved for {STALLED_SECONDS:g} s{cause}. Still waiting."


@contextmanager
def session(overrides: Mapping[str, Any] | None = None, *, works: bool = False) -> Iterator[Session]:
    """Open what the settings name. `works`: a worker is run if there is no broker, so what it needs must be set.

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
    """A progress bar on standard error, if that is a terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        # The progress bar stands in for standard error now, so that log lines do not tear it.
        logs.configure("warning", "console")
        shown.add_task(safe(what).plain, total=None)
        yield shown


def still_running(see: str) -> None:
    """Say that the wait is over but the work is not."""
    complain(f"Not finished in time; it goes on as soon as a worker runs. See it with `{see}`.")
