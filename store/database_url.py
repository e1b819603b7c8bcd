"""The database that a URL names: SQLAlchemy's URLs, and libpq's with several hosts."""

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

USE = "use sqlite:///file or postgresql://user:password@host/database"
_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgresql(?:\+psycopg)?://(?:[^@]*@)?)(?P<hosts>[^@/?]*,[^@/?]*)(?P<after>.*)"
)


def check_url(url: str) -> URL:
    """Raise ValueError, which never shows the URL, unless it names a database that can be used."""
    try:
        parsed = _parse(url)
        is_postgresql = parsed.drivername in {"postgresql", "postgresql+psycopg"}
        if is_postgresql:
            parsed = parsed.set(drivername="postgresql+psycopg")
            # Hosts and ports that do not fit together are found here.
            parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError):
        raise ValueError(USE) from None
    if is_postgresql and (parsed.host or parsed.query.get("host")) and parsed.database:
        return parsed
    if parsed.drivername != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ValueError(USE)
    return parsed


def name_of(url: URL) -> str:
    """Return the database's name for people: a SQLite file's path, or server and database, without user or password."""
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    hosts = url.query.get("host", url.host)
    return f"{url.database} on {hosts if isinstance(hosts, str) else ','.join(hosts or ())}"


def _parse(url: str) -> URL:
    """Several hosts, `host:port,host:port`, are libpq's way; SQLAlchemy's is `?host=a,b&port=1,2`."""
    several = _SEVERAL_HOSTS.fullmatch(url)
    if several is None:
        return make_url(url)
    each = [make_url(f"{several['before']}{host}{several['after']}") for host in several["hosts"].split(",")]
    hosts, ports = [one.host for one in each], [str(one.port or "") for one in each]
    if not all(hosts):
        raise ValueError(USE)
    return URL.create(
        each[0].drivername,
        each[0].username,
        each[0].password,
        database=each[0].database,
        query={**each[0].query, "host": ",".join(map(str, hosts)), "port": ",".join(ports)},
    )
