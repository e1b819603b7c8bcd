"""The command `phin-connectwise worker` with other waiting times, so that a run of minutes has room for many waits.

The order of things is never changed, and a time that outlasts another still does. Only the minute that a line waits for
its mapping is longer: here servers and workers are away for most of a minute.
"""

import sys
from datetime import timedelta

from tests.support.hooked_worker import shorten
from worker.cli import main
from worker.messaging import relay
from worker.messaging.rabbitmq import publishing
from worker.rules import quantities, retry
from worker.sync import run

if __name__ == "__main__":
    shorten()
    retry.RETRY_FIRST, retry.RETRY_MAX = 0.3, 5.0
    retry.OUR_FAULT_PAUSE = timedelta(seconds=3)
    retry.RATE_LIMIT_PAUSE = timedelta(seconds=2)
    publishing.CONFIRM_TIMEOUT, relay.CLAIM_SECONDS = 5.0, 20.0
    quantities.VERSION_WAIT = timedelta(minutes=4)
    run.OPEN_WRITES_EVERY = timedelta(seconds=5)
    sys.argv[1:] = ["worker"]
    main()
