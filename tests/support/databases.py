"""PostgreSQL databases of a test's own: empty, or copies of one that was migrated once a session."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from store import Database
from store.migrate import upgrade


class Postgresql:
    """A PostgreSQL server on which databases of random names come and go."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a new database, a copy of the template; dropped at the end, whoever is still connected."""
        name = f"test_{uuid4().hex[:12]}"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            # The server outlives every test, so a commit need not wait for the disk.
            self._run(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))
            yield urlsplit(self._server_url)._replace(path=f"/{name}").geturl()
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with closing(psycopg.connect(self._server_url, autocommit=True)) as connection:
            connection.execute(statement)


def migrate_to_newest(url: str) -> None:
    """Give the database all tables, and leave no connection open: a copy needs that."""
    with closing(Database(url)) as database:
        upgrade(database)


def shift_clock(url: str, ahead: timedelta) -> None:
    """Let the clock of this database be so far ahead of this machine's, for connections that are made from now on."""
    name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
    body = sql.SQL("SELECT pg_catalog.clock_timestamp() + make_interval(secs => {})").format(ahead.total_seconds())
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(
            sql.SQL("CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS {}").format(
                body.as_string(connection)
            )
        )
        # Named first, it is found before the one of PostgreSQL's own.
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(name))
