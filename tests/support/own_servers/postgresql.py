"""A PostgreSQL server of a test's own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from testcontainers.core.container import DockerContainer

from cwclient.simulator.certificates import TlsFiles
from tests.support.own_servers.base import OwnServer
from tests.support.own_servers.places import Container, Place, Process
from tests.support.servers import POSTGRESQL

DEBIAN = Path("/usr/lib/postgresql")
# The server does not run as root; these users are there on most systems.
USERS = ("postgres", "nobody")
ALL_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


class OwnPostgresql(OwnServer):
    """A server with the user postgres / postgres. `url` names the empty database `postgres`; TLS is up to sslmode."""

    name, package, stop_signal = "PostgreSQL", "postgresql", signal.SIGINT

    def __init__(self, *, tls: bool | TlsFiles = False) -> None:
        super().__init__(tls=tls)
        self.url = f"postgresql://postgres:postgres@127.0.0.1:{self.port}/postgres"

    def stop_at_once(self) -> None:
        """The immediate shutdown: clients are cut off, the next start recovers from the log."""
        self._place.stop(signal.SIGQUIT)

    def terminate_connections(self) -> None:
        """Cut every client off, as `pg_terminate_backend` does."""
        self.ask(ALL_CONNECTIONS)

    def read_only(self, *, on: bool) -> None:
        """Have every transaction that begins from now on be read-only, or not; connections stay as they are."""
        self.ask(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.ask("SELECT pg_reload_conf()")

    def ask(self, statement: LiteralString) -> Any:
        """The first column of the first row, if there are any."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def _process(self) -> Place | None:
        versions = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
        path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, versions)])
        initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
        if initdb is None or postgres is None:
            return None
        user = next(user for user in USERS if is_known(user)) if os.geteuid() == 0 else None
        home, data, password = self.folder / "home", self.folder / "home/data", self.folder / "home/password"
        home.mkdir()
        password.write_text("postgres")
        tls = TlsFiles(*(Path(shutil.copy(file, home)) for file in self.tls)) if self.tls else None
        for path_of in (home, *home.iterdir()):
            if user is not None:
                shutil.chown(path_of, user)
        if tls is not None:
            tls.key.chmod(0o600)
        initialise = self._initialise(Path(initdb).resolve().parent, home)
        subprocess.run(initialise, user=user, cwd=home, check=True, capture_output=True)
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        return Process([postgres, "-D", str(data), *options, *_settings(tls)], home, user=user)

    def _initialise(self, programs: Path, home: Path) -> Sequence[str]:
        """The command that fills the data folder."""
        login = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", f"{home / 'password'}"]
        return [f"{programs / 'initdb'}", "-D", f"{home / 'data'}", *login, "-E", "UTF8", "-N"]

    def _container(self) -> Place:
        container = DockerContainer(POSTGRESQL.image, env=dict(POSTGRESQL.environment))
        command = ["postgres", *_settings(None)]
        if self.tls is not None:
            for path in self.tls:
                container = container.with_volume_mapping(str(path), f"/given/{path.name}")
            # PostgreSQL insists that the key is its own and nobody else may read it.
            copied = TlsFiles(*(Path("/tls") / path.name for path in self.tls))
            serve = " ".join(["exec docker-entrypoint.sh postgres", *_settings(copied)])
            command = ["bash", "-c", f"install -D -o postgres -m 600 -t /tls /given/* && {serve}"]
        return Container(
            container.with_command(command), inside=POSTGRESQL.port, port=self.port, data="/var/lib/postgresql"
        )

    def _answers(self) -> bool:
        return POSTGRESQL.answers(self.url)


def _settings(tls: TlsFiles | None) -> Sequence[str]:
    """Options of the program. Without fsync: nothing here outlives the machine."""
    if tls is None:
        return ["-c", "fsync=off", "-c", "full_page_writes=off"]
    return [
        "-c",
        "fsync=off",
        "-c",
        "full_page_writes=off",
        "-c",
        "ssl=on",
        "-c",
        f"ssl_cert_file={tls.certificate}",
        "-c",
        f"ssl_key_file={tls.key}",
    ]


def is_known(user: str) -> bool:
    """True if this machine has such a user."""
    try:
        import pwd

        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
