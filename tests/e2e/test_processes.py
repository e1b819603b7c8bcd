"""`worker --processes N`: one command for the cores of a machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from store import workers
from tests.support.forked import ROOT
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker.cli.processes import Stop


@contextmanager
def processes(world: World, number: int) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the command `worker` with so many processes."""
    command = [sys.executable, "-m", "worker.cli", "worker", "--processes", str(number)]
    with (world.folder / "worker.log").open("wb") as log:
        running = subprocess.Popen(command, env=world.environment, stderr=log, cwd=ROOT)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def _pids(world: World) -> set[int]:
    """The processes that have a heartbeat and live."""
    with world.database.begin() as tx:
        return {worker.pid for worker in workers.recent(tx) if Path(f"/proc/{worker.pid}").exists()}


def test_a_killed_process_is_replaced_and_the_others_go_on(amqp_url: str, postgresql_url: str, tmp_path: Path) -> None:
    """Each is a worker of its own in `health`; one that is killed loses nothing, and SIGTERM ends all."""
    with World(amqp_url, postgresql_url, tmp_path) as world, processes(world, 2) as running:
        wait_for(lambda: len(_pids(world)) == 2, "two workers")
        before = _pids(world)
        connection, mapped = world.connected("p1"), [world.mapped("p1", number) for number in range(1, 6)]
        push = world.push("p1", dict.fromkeys(range(1, 6), 7), connection=connection, mappings=mapped)
        world.publish(connection, *mapped, push)
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: world.state_of(push) == "completed", "the push", timeout=60)
        assert {answer and answer.status for answer in world.answers(push).values()} == {"updated"}
        wait_for(lambda: len(_pids(world)) == 2, "another process in its place")
        assert _pids(world) - before
        running.terminate()
        assert running.wait(within(30)) == 0
        wait_for(lambda: not _pids(world), "the end of all")


def test_processes_end_with_the_one_that_started_them(sqlite_url: str, tmp_path: Path) -> None:
    """Nothing goes on in the background once the command itself is killed."""
    with World("local:", sqlite_url, tmp_path) as world, processes(world, 2) as running:
        wait_for(lambda: len(_pids(world)) == 2, "two workers")
        running.kill()
        wait_for(lambda: not _pids(world), "the end of all")


SLOW_TO_BEGIN = """
import os, sys
from worker.cli.processes import run_processes, stop_on_signal, wait_for_end

def work(number):
    os.write(1, b"begun\\n")
    os.read(0, 1)  # never comes
    wait_for_end(stop_on_signal())

sys.exit(run_processes(2, work))
"""


AT_EVERY_LINE = """
import os, signal, sys
from worker.cli.processes import stop_on_signal, wait_for_end

def wait_with_a_signal_at_line(number):
    left = number

    def trace(frame, event, _):
        nonlocal left
        if event == "line":
            left -= 1
            if not left:
                sys.settrace(None)
                os.kill(os.getpid(), signal.SIGTERM)
        return trace

    stop = stop_on_signal()
    sys.settrace(trace)
    try:
        stop.wait(0.001)
    finally:
        sys.settrace(None)
    if left > 0:
        return False
    wait_for_end(stop)
    return True

number = 1
while wait_with_a_signal_at_line(number):
    number += 1
print(number)
"""


def test_a_signal_ends_the_wait_whenever_it_comes() -> None:
    """A worker drains, also if SIGTERM comes at the very moment at which it begins to wait for it."""
    command = [sys.executable, "-c", AT_EVERY_LINE]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=within(30), check=True)
    assert int(ended.stdout) > 2


def test_a_wait_without_a_limit_ends_when_it_is_told() -> None:
    """A worker with one core, and no other process to look after, drains at once."""
    stop = Stop()
    waits = Thread(target=stop.wait, args=(None,), daemon=True)
    waits.start()
    assert not stop.is_set()
    stop.set()
    waits.join(within(10))
    assert not waits.is_alive()


def test_a_signal_while_processes_begin_ends_them() -> None:
    """A process may take long until it listens to signals: SIGTERM does not get lost meanwhile."""
    command = [sys.executable, "-c", SLOW_TO_BEGIN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, process_group=0) as running:
        try:
            assert running.stdout is not None
            assert [running.stdout.readline() for _ in range(2)] == [b"begun\n"] * 2
            running.terminate()
            assert running.wait(within(10)) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


CORES = """
import os, sys
import structlog
from worker.cli.cores import Cores
from worker.cli.processes import run_processes, stop_on_signal, wait_for_end

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
cores = Cores()

def work(number):
    core = cores.keep(number)
    os.write(1, f"{sorted(os.sched_getaffinity(0))}\\n".encode())
    wait_for_end(stop_on_signal(), core)

sys.exit(run_processes(int(sys.argv[1]), work))
"""


@pytest.mark.parametrize("more", [0, 1])
def test_processes_take_the_cores_by_turns(more: int) -> None:
    """As many as cores have one each; of more, none has to share its core with two while another has none."""
    cores = sorted(os.sched_getaffinity(0))
    number = len(cores) + more
    command = [sys.executable, "-c", CORES, str(number)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            shown = [running.stdout.readline().decode().strip() for _ in range(number)]
            running.terminate()
            assert running.wait(within(10)) == 0
        finally:
            running.kill()
    assert set(shown) == {f"[{core}]" for core in cores}


def test_what_stops_one_process_stops_the_command(tmp_path: Path) -> None:
    """Tables of another version are told once a process, with the command's own exit code, and not for ever."""
    with World("local:", f"sqlite:///{tmp_path / 'store.db'}", tmp_path) as world:
        with world.database.begin() as tx:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
        with processes(world, 2) as running:
            assert running.wait(within(30)) == 4


@pytest.mark.parametrize("number", ["0", "many"])
def test_a_number_that_is_none_is_refused(number: str, tmp_path: Path) -> None:
    """A wrong number starts nothing."""
    with World("local:", f"sqlite:///{tmp_path / 'store.db'}", tmp_path) as world:
        refused = world.command("worker", "--processes", number)
    assert refused.returncode == 2
    assert "--processes" in refused.stderr
