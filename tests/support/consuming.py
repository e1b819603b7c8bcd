"""A process that consumes from a broker and writes down what it got, for tests that kill it.

`python -m tests.support.consuming FILE ANSWER_FIRST`: one line a delivery, `message id, redelivered`; the first
ANSWER_FIRST are settled, later ones never. Settings from the environment.
"""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tests.support.hooked_worker import shorten
from tests.support.watched import watched
from worker.bootstrap import open_broker, open_database
from worker.messaging.broker import Delivery, Settlement
from worker.settings import load


def main(path: Path, answer_first: int) -> None:
    """Consume until killed."""
    shorten()
    settings = load()
    got = 0
    with path.open("a") as notes:

        def deliver(delivery: Delivery, settle: Callable[[Settlement], None]) -> None:
            nonlocal got
            got += 1
            notes.write(f"{delivery.message_id} {delivery.redelivered}\n")
            notes.flush()
            if got <= answer_first:
                settle(Settlement.ACK)

        database = open_database(settings)
        with watched(database):
            open_broker(settings, database).consume(deliver, threading.Event())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
