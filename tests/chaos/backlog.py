"""A backlog of large messages: they lie in the outbox and are due all at once, as set-aside messages may be."""

from collections.abc import Sequence
from contextlib import closing

from messages import PushRequested, encode
from store import Database, outbox
from store.outbox import OutboxRow
from store.properties import TURN_HEADER
from worker.topology import queue_of

SIZE = 1_200_000
TOGETHER = 20


def put_backlog(database_url: str, pushes: Sequence[PushRequested]) -> None:
    """Put these pushes into the outbox, in one transaction."""
    with closing(Database(database_url)) as database, database.begin() as tx:
        for first in range(0, len(pushes), TOGETHER):
            outbox.put_later(tx, [(_row(push), 0.0) for push in pushes[first : first + TOGETHER]])


def _row(push: PushRequested) -> OutboxRow:
    """As `worker.turns` sets the push aside. A field that readers ignore makes it large, so its lines can be few."""
    wire = encode(push)
    properties = outbox.properties_of(wire)
    properties["headers"] = {**(properties.get("headers") or {}), TURN_HEADER: True}
    note = b"x" * (SIZE - len(wire.body))
    return outbox.row("", queue_of(push.type), properties, wire.body[:-1] + b',"note":"' + note + b'"}')
