"""Database URLs: those of SQLAlchemy, and those of libpq with several hosts."""

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

USE = "use sqlite:///file or postgresql://user:password@host/database"
_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgresql(?:\+psycopg)?://(?:[^@]*@)?)(?P<hosts>[^@/?]*,[^@/?]*)(?P<after>.*)"
)


def check_url(url: str) -> URL:
    """Parse the URL. Raises ValueError, whose text never shows it, unless it names a database that can be used."""
    try:
        parsed = _parse(url)
        is_postgresql = parsed.drivername in {"postgresql", "postgresql+psycopg"}
        if is_postgresql:
            parsed = parsed.set(drivername="postgresql+psycopg")
            # This finds hosts and ports that do not match.
            parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError):
        raise ValueError(USE) from None
    if is_postgresql and (parsed.host or parsed.query.get("host")) and parsed.database:
        return parsed
    if parsed.drivername != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ValueError(USE)
    return parsed


def name_of(url: URL) -> str:
    """Return a name to display: the path of a SQLite file, or database and server, without user or password."""
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    hosts = url.query.get("host", url.host)
    return f"{url.database} on {hosts if isinstance(hosts, str) else ','.join(hosts or ())}"


def _parse(url: str) -> URL:
    """Parse a URL. libpq lists hosts as `host:port,host:port`, SQLAlchemy as `?host=a,b&port=1,2`."""
    several = _SEVERAL_HOSTS.fullmatch(url)
    if several is None:
        return make_url(url)
    urls = [make_url(f"{several['before']}{host}{several['after']}") for host in several["hosts"].split(",")]
    hosts, ports = [url.host for url in urls], [str(url.port or "") for url in urls]
    if not all(hosts):
        raise ValueError(USE)
    return URL.create(
        urls[0].drivername,
        urls[0].username,
        urls[0].password,
        database=urls[0].database,
        query={**urls[0].query, "host": ",".join(map(str, hosts)), "port": ",".join(ports)},
    )
