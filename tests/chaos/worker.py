"""The command `phin-connectwise worker` with other waiting times, so that a run of minutes has room for many waits.

The order of things is never changed, and a time that outlasts another still does. Only the minute that a line waits for
its mapping is longer: here servers and workers are away for most of a minute.
"""

import sys
from datetime import timedelta

from tests.support.hooked_worker import shorten
from worker import plan, policy, relay, run
from worker.broker import publishing
from worker.cli import main

if __name__ == "__main__":
    shorten()
    policy.RETRY_FIRST, policy.RETRY_MOST = 0.3, 5.0
    policy.OURS_PAUSE = timedelta(seconds=3)
    policy.RATE_LIMIT_PAUSE = timedelta(seconds=2)
    publishing.CONFIRM_TIMEOUT, relay.CLAIM_SECONDS = 5.0, 20.0
    plan.VERSION_WAIT = timedelta(minutes=4)
    run.OPEN_WRITES_EVERY = timedelta(seconds=5)
    sys.argv[1:] = ["worker"]
    main()
