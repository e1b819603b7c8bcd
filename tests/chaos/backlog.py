"""A backlog of large messages: they lie deferred in the outbox, and the turn of all of them has come."""

from collections.abc import Sequence
from contextlib import closing

from messages import PushRequested
from store import Database, outbox
from tests.support.store import deferred

SIZE = 1_200_000
TOGETHER = 20


def put_backlog(database_url: str, pushes: Sequence[PushRequested]) -> None:
    """Put these pushes into the outbox, in one transaction; their size comes from a field that readers ignore."""
    with closing(Database(database_url)) as database, database.begin() as tx:
        for first in range(0, len(pushes), TOGETHER):
            outbox.defer(tx, [(deferred(push, SIZE), 0.0) for push in pushes[first : first + TOGETHER]])
