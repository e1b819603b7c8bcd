"""A hot standby of a PostgreSQL server of a test's own, to be promoted."""

from collections.abc import Sequence
from pathlib import Path

from tests.support.own_servers.places import Missing, Place
from tests.support.own_servers.postgresql import OwnPostgresql
from tests.support.waiting import wait_for

IS_WRITING = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"


class Standby(OwnPostgresql):
    """A server that follows the primary by streaming replication, and can be read from. From this machine's programs.

    Making one raises `Missing` if they are not here, so if the primary runs in a container.
    """

    def __init__(self, primary: OwnPostgresql) -> None:
        self._primary = primary
        super().__init__()

    def take_over(self) -> None:
        """A switch-over in good order: the primary takes no more writes, this one has all of them and is promoted.

        The primary goes on, and so do all connections to it.
        """
        self._primary.read_only(on=True)
        wait_for(self._has_everything, "the standby to have all that the primary wrote")
        self.ask("SELECT pg_promote()")

    def _has_everything(self) -> bool:
        written = self._primary.ask("SELECT pg_current_wal_lsn()::text")
        if self._primary.ask(IS_WRITING):
            return False
        return bool(self.ask("SELECT pg_last_wal_replay_lsn()::text") == written)

    def _initialise(self, programs: Path, home: Path) -> Sequence[str]:
        copy = [f"{programs / 'pg_basebackup'}", "-d", self._primary.url, "-D", f"{home / 'data'}"]
        return [*copy, "-R", "-c", "fast", "-N"]

    def _container(self) -> Place:
        raise Missing("no PostgreSQL for a standby: install it (apt-get install postgresql)")
