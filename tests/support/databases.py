"""PostgreSQL databases of a test's own: new ones, or one that is emptied and has another name for each test."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from store import Database
from store.migrate import upgrade
from store.schema import metadata


class Postgresql:
    """A PostgreSQL server on which databases of random names come and go."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database without tables; dropped at the end, whoever is still connected."""
        with self.named() as database:
            yield database.url

    @contextmanager
    def named(self) -> Iterator["Named"]:
        """A new database without tables that may be renamed; dropped at the end, whoever is still connected."""
        database = Named(self._server_url, f"test_{uuid4().hex[:12]}")
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")
        # The server outlives every test, so a commit need not wait for the disk.
        hurry = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off")
        database.run(create, hurry)
        try:
            yield database
        finally:
            database.run(sql.SQL("DROP DATABASE {} WITH (FORCE)"))


@dataclass
class Named:
    """A database of the server at this URL."""

    server_url: str
    name: str

    @property
    def url(self) -> str:
        """The database's URL."""
        return urlsplit(self.server_url)._replace(path=f"/{self.name}").geturl()

    def run(self, *statements: sql.SQL) -> None:
        """Run statements with the name for `{}`, from outside the database."""
        with closing(psycopg.connect(self.server_url, autocommit=True)) as connection:
            for statement in statements:
                connection.execute(statement.format(sql.Identifier(self.name)))

    def renew(self) -> None:
        """Cut off whoever is connected, change the name, so that nobody of them comes back, and empty all tables.

        To create and drop a database takes many times longer, as each time the server writes all that it has in memory.
        """
        new = f"test_{uuid4().hex[:12]}"
        with closing(psycopg.connect(self.server_url, autocommit=True)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", [self.name]
            )
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (self.name, new))))
        self.name = new
        with closing(psycopg.connect(self.url, autocommit=True)) as connection, connection.pipeline():
            for table in reversed(metadata.sorted_tables):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
            connection.execute("SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences")


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
