"""A PostgreSQL database for a measurement: a commit waits for the disk, as in production."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.support.databases import Postgresql
from tests.support.servers import POSTGRESQL


@contextmanager
def durable_database() -> Iterator[str]:
    """The URL of a new, empty database; dropped at the end."""
    with POSTGRESQL.running() as server, Postgresql(server).database() as url:
        name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET synchronous_commit").format(name))
        yield url
