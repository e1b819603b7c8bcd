"""Show where the worker's CPU goes, by function: `make profile`, or `python -m tests.benchmarks.profile PROFILER`.

A sampling profiler looks at a worker that pushes of 30 partners with 30 lines each keep busy, and counts in which
function the thread is that runs Python, if any: not those that wait for it, for the network, or for the CPU.
"""

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import usage
from tests.benchmarks.our_worker import our_worker
from tests.benchmarks.report import show
from tests.benchmarks.rounds import ROUND_WITHIN
from tests.benchmarks.scenario import Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import stub_connectwise
from tests.support.servers import RABBITMQ

SCENARIO, TURNS = Scenario(partners=30, lines=30), 3
SAMPLES_PER_SECOND = 100
SHOWN = 40


def main(profiler: str) -> None:
    """Profile a worker that has done such pushes before, and print the tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker_url = stack.enter_context(RABBITMQ.running())
        stub, database_url = stack.enter_context(stub_connectwise(0.0)), stack.enter_context(durable_database())
        ours = stack.enter_context(our_worker(broker_url, database_url, folder, SCENARIO, stub))

        def work(turn: int) -> None:
            ours.rest()
            ours.send(list(SCENARIO.work(turn)))
            ours.results.wait(ROUND_WITHIN)

        (pid,) = pids = ours.start()
        work(1)
        cpu_before = usage.cpu_seconds(pids)
        with _profiled(profiler, pid, folder / "stacks"):
            for turn in range(2, 2 + TURNS):
                work(turn)
        cpu = usage.cpu_seconds(pids) - cpu_before
        ours.stop()
        stacks = (folder / "stacks").read_text(encoding="utf-8").splitlines()
    show(f"{SCENARIO}, {TURNS} times: {cpu / TURNS / SCENARIO.partners / SCENARIO.lines * 1000:.2f} ms of CPU a line")
    _show_tables([(stack.split(";"), int(count)) for stack, count in (line.rsplit(" ", 1) for line in stacks)])


@contextmanager
def _profiled(profiler: str, pid: int, file: Path) -> Iterator[None]:
    options = (
        "--pid",
        str(pid),
        "--rate",
        str(SAMPLES_PER_SECOND),
        "--gil",
        "--nonblocking",
        "--format",
        "raw",
        "--function",
        "-o",
        str(file),
    )
    with subprocess.Popen([profiler, "record", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("The profiler may not look at the worker: it needs root, or ptrace_scope 0.")
        yield
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _show_tables(stacks: list[tuple[list[str], int]]) -> None:
    itself, cumulative, packages = Counter[str](), Counter[str](), Counter[str]()
    for frames, count in stacks:
        itself[frames[-1]] += count
        packages[frames[-1].partition("(")[2].partition("/")[0].rstrip(")")] += count
        for frame in set(frames):
            cumulative[frame] += count
    total = sum(itself.values())
    for title, counts in (("package itself", packages), ("function itself", itself), ("with callees", cumulative)):
        show(f"\n{title}: {total:,} samples")
        for name, count in counts.most_common(SHOWN):
            show(f"{count / total:7.1%}  {name}")


if __name__ == "__main__":
    main(sys.argv[1])
