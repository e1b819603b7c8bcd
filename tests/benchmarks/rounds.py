"""One round of a contestant: it starts, does the work of a turn, and is measured from the first message to the last."""

from dataclasses import dataclass
from time import perf_counter

from tests.benchmarks import usage
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.scenario import Line, Scenario, users
from tests.benchmarks.stub import StubConnectWise

ROUND_WITHIN = 600.0


@dataclass(frozen=True)
class Round:
    """The cost of a round: lines a second, milliseconds of CPU a line, peak memory in MiB, and requests a line.

    `machine_busy`: the share of all its cores that was in use, by the contestant or any other process.
    """

    contestant: str
    lines_per_second: float
    cpu_ms_per_line: float
    machine_busy: float
    peak_mib: float
    gets_per_line: float
    patches_per_line: float
    connections: int


def run_round(contestant: Contestant, scenario: Scenario, turn: int, stub: StubConnectWise) -> Round:
    """Measure a turn. Raises AssertionError unless each addition holds the right quantity afterwards."""
    contestant.rest()
    pids = contestant.start()
    contestant.send([Line(0, company, users(turn, company)) for company in range(1, scenario.lines + 1)])
    contestant.results.wait(ROUND_WITHIN)
    contestant.rest()
    stub.forget()
    lines, cpu_before, started = list(scenario.work(turn)), usage.cpu_seconds(pids), perf_counter()
    usage.machine_busy()
    contestant.send(lines)
    seconds = contestant.results.wait(ROUND_WITHIN) - started
    busy = usage.machine_busy()
    contestant.rest()
    cpu, peak = usage.cpu_seconds(pids) - cpu_before, usage.peak_mebibytes(pids)
    contestant.stop()
    seen = stub.seen()
    assert contestant.results.statuses == {"updated": len(lines)}, contestant.results.statuses
    wrong = [line for line in lines if seen.quantities.get(line.addition) != line.users]
    assert not wrong, f"{len(wrong)} additions hold another quantity, such as that of {wrong[0]}"
    return Round(
        contestant=contestant.name,
        lines_per_second=len(lines) / seconds,
        cpu_ms_per_line=cpu / len(lines) * 1000,
        machine_busy=busy,
        peak_mib=peak,
        gets_per_line=seen.asked.get("GET", 0) / len(lines),
        patches_per_line=seen.asked.get("PATCH", 0) / len(lines),
        connections=seen.asked.get("connections", 0),
    )
