"""`phin-connectwise demo`: the first thing that a newcomer runs."""

import re
from pathlib import Path
from signal import SIGINT
from urllib.request import urlopen

from cwclient.simulator import SimulatorServer, State
from tests.support.commands import in_terminal, run
from worker.cli import sample

SEEN = "✓ ConnectWise saw 11 PATCH requests in the first push, one per changed addition, and 0 in the second."


def test_the_demo_needs_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    """Without a server or a setting it ends with 0, shows each reason, and proves that a repeat writes nothing."""
    for _ in range(2):
        done = run("demo", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert SEEN in done.stdout
        assert done.stderr == ""
    for reason in (
        "is cancelled",
        "is expired",
        "has not begun",
        "is not billed",
        "Not found",
        "One addition",
        "Not mapped",
    ):
        assert reason in done.stdout
    assert "PHIN_CONNECTWISE_BROKER_URL=" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == [".demo"]


def test_the_demo_shows_its_pages_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal the pages stay, with what was pushed in them, until Ctrl-C; --once ends after the pushes."""
    shown = ""
    with in_terminal("demo", folder=tmp_path) as (terminal, process):
        for line in terminal:
            shown += line
            if (address := re.search(r"http://\S+/portal/\S+", line)) is not None:
                with urlopen(address[0]) as answer:  # noqa: S310 - the address of our own pages
                    page = answer.read().decode()
                process.send_signal(SIGINT)
    assert (process.returncode, SEEN in shown, "Traceback" in shown) == (0, True, False)
    assert "Alder &amp; Finch Architects" in page
    assert "Unchanged" in page
    with in_terminal("demo", "--once", folder=tmp_path) as (terminal, process):
        shown = "".join(terminal)
    assert (process.returncode, SEEN in shown, "/portal/" in shown) == (0, True, False)


def test_the_demo_uses_a_simulator_that_runs(tmp_path: Path) -> None:
    """With a simulator given, as among containers, its records are set back first, so the demo can be repeated."""
    with SimulatorServer(State.from_file(sample.SIMULATOR_STATE)) as simulator:
        for _ in range(2):
            done = run("demo", "--simulator-url", simulator.url, "--ca-file", str(simulator.ca_file), folder=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert SEEN in done.stdout
