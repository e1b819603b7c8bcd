"""`phin-connectwise demo`: the first thing that a newcomer runs."""

from pathlib import Path

from cwclient.simulator import SimulatorServer, State
from tests.support.commands import run
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


def test_the_demo_uses_a_simulator_that_runs(tmp_path: Path) -> None:
    """With a simulator given, as among containers, its records are set back first, so the demo can be repeated."""
    with SimulatorServer(State.from_file(sample.SIMULATOR_STATE)) as simulator:
        for _ in range(2):
            done = run("demo", "--simulator-url", simulator.url, "--ca-file", str(simulator.ca_file), folder=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert SEEN in done.stdout
