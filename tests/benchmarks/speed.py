"""Measure the speed of the worker beside others: `python -m tests.benchmarks.speed --help`."""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.our_worker import our_worker
from tests.benchmarks.report import show
from tests.benchmarks.rounds import Round, run_round
from tests.benchmarks.scenario import Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import ceiling, stub_connectwise
from tests.support.servers import RABBITMQ

CLIENTS = 4


def main() -> None:
    """Measure what the arguments name, print tables, and write the figures."""
    arguments = _arguments()
    show(f"stub alone: {ceiling(1):.0f} requests/s of one requests.Session, {ceiling(CLIENTS):.0f} of {CLIENTS}")
    for scenario in map(Scenario.parse, arguments.scenario):
        rounds = compare(scenario, arguments.only, arguments.rounds)
        report.show_table(scenario, rounds)
        show(f"written to {report.save('speed', report.figures_of(scenario, rounds))}")


def compare(scenario: Scenario, names: list[str], rounds: int) -> list[Round]:
    """Let the contestants take turns for so many rounds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker_url = stack.enter_context(RABBITMQ.running())
        stub = stack.enter_context(stub_connectwise(scenario.latency))
        contestants: list[Contestant] = []
        for name in names:
            database_url = stack.enter_context(durable_database())
            contestants.append(stack.enter_context(MAKERS[name](broker_url, database_url, folder, scenario, stub)))
        return [run_round(one, scenario, turn, stub) for turn in range(1, rounds + 1) for one in contestants]


MAKERS = {"ours": our_worker}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", nargs="+", default=["100x30@0"], help="PARTNERSxLINES@MILLISECONDS[/PROCESSES]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(MAKERS), help="contestants, by comma")
    return parser.parse_args()


if __name__ == "__main__":
    main()
