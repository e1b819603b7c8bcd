"""The ceiling of one process that calls by `requests`: threads that do nothing else."""

from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from threading import Barrier
from time import perf_counter

import requests

from tests.benchmarks.scenario import ADDITIONS_PER_PARTNER, Scenario
from tests.benchmarks.stub import stub_connectwise

LINES = 3072
"""The lines of all threads, beside one of each that opens its connection."""
AT_ONCE_OF_PARTNER, AT_ONCE_WITHOUT_LATENCY, AT_ONCE = 4, 4, 256
LINES_AT_MOST = 50
"""The lines of a thread that has to wait for each."""
START_WITHIN = 60.0


def threads_for(scenario: Scenario) -> int:
    """Return the number of threads: four a partner, and few where nothing is to be waited for."""
    return min(scenario.partners * AT_ONCE_OF_PARTNER, AT_ONCE) if scenario.latency else AT_ONCE_WITHOUT_LATENCY


def lines_per_second(threads: int, latency: float) -> float:
    """Have so many threads read and write additions, each with a `requests.Session` of its own; latency in seconds."""
    lines = min(LINES // threads, LINES_AT_MOST if latency else LINES)
    start = Barrier(threads + 1, timeout=START_WITHIN)
    with stub_connectwise(latency) as stub, ThreadPool(threads) as pool:
        url = f"{stub.url}/v2025_1/apis/3.0/finance/agreements"

        def work(thread: int) -> None:
            with requests.Session() as session:
                session.trust_env, session.auth = False, ("company+public", "private-key")
                _sync(session, lambda number: f"{url}/{thread + 1}/additions/{number}", 1)
                start.wait()
                _sync(session, lambda number: f"{url}/{thread + 1}/additions/{number}", lines)

        done = pool.map_async(work, range(threads), chunksize=1)
        start.wait()
        started = perf_counter()
        done.get()
        return threads * lines / (perf_counter() - started)


def _sync(session: requests.Session, url_of: Callable[[int], str], lines: int) -> None:
    for number in range(ADDITIONS_PER_PARTNER, ADDITIONS_PER_PARTNER + lines):
        before = session.get(url_of(number), timeout=60).json()["quantity"]
        patch = [{"op": "replace", "path": "quantity", "value": before + 1}]
        session.patch(url_of(number), json=patch, timeout=60).raise_for_status()
