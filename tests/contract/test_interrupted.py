"""A run of the tests that is interrupted leaves nothing running behind."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked import ROOT
from tests.support.waiting import within

BEGIN = """
import os, signal
from pathlib import Path
from tests.support.forked import FORK_SERVER
from tests.support.own_servers.places import Process
folder = Path({folder!r})
"""
SERVER = """
Process(["sh", "-c", "exec > line; exec sleep 1000"], folder).start()
"""
WORKER = """
with open(folder / "line", "wb") as line:
    process = FORK_SERVER.start("http.server", ["0"], folder=folder, environment=os.environ, stdout=line)
"""
END = """
print("started", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("start", [SERVER, WORKER], ids=["server", "worker"])
def test_what_the_tests_started_ends_with_them(start: str, tmp_path: Path) -> None:
    """Killed, the tests' process takes with it the servers and the workers that it started."""
    (tmp_path / "started").mkdir()
    os.mkfifo(line := tmp_path / "started" / "line")
    command = [sys.executable, "-c", BEGIN.format(folder=str(line.parent)) + start + END]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as tests,
        line.open("rb", buffering=0) as output,
    ):
        assert tests.stdout is not None
        assert tests.stdout.readline()
        tests.kill()
        # Its end comes when nobody is left who could write.
        while (ready := select.select([output], [], [], within(20))[0]) and output.read(1000):
            pass
        assert ready
