"""The status of a worker by HTTP: liveness, readiness, metrics."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from worker.bootstrap import open_database
from worker.health import Readiness
from worker.setting_names import PREFIX
from worker.settings import Settings, SettingsError
from worker.status.server import StatusServer


@contextmanager
def status_of(readiness: Readiness, settings: Settings, number: int = 0) -> Iterator[int | None]:
    """Serve the status of a worker meanwhile. Yields the port; None = the settings want no status.

    `number`: that of the process, from 0, of several side by side: each has the next port. Raises SettingsError if the
    address cannot be had.
    """
    address = settings.status_address
    if address is None:
        yield None
        return
    host, port = address.host, address.port + number if address.port else 0
    # A connection of its own: a reading that waits for a lock keeps nobody else from working.
    with closing(open_database(settings, connections=1)) as database:
        try:
            server = StatusServer(host, port, database, readiness)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "ports end at 65535"
            why = f"{PREFIX}STATUS_ADDRESS: port {port} on {host or 'all addresses'} cannot be had ({reason})"
            remedy = "another worker may have it: give each on a machine its own port, or an empty address"
            raise SettingsError([f"{why}; {remedy}"]) from error
        with server:
            yield server.port
