"""Measure the speed of the worker, alone and beside others: `python -m tests.benchmarks.speed --help`."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from tests.benchmarks import report, requests_alone
from tests.benchmarks.alone import ALONE
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.our_worker import UnboundWorker, our_worker
from tests.benchmarks.peer import PEERS, peer
from tests.benchmarks.report import show
from tests.benchmarks.rounds import Round, run_round
from tests.benchmarks.scenario import Scenario
from tests.benchmarks.servers import durable_database
from tests.benchmarks.stub import StubConnectWise, stub_connectwise
from tests.benchmarks.traced_worker import traced_worker
from tests.support.servers import RABBITMQ

Maker = Callable[[str, str, Path, Scenario, StubConnectWise], AbstractContextManager[Contestant]]

PEER_MAKERS: Mapping[str, Maker] = {name: partial(peer, name) for name in PEERS}
UNBOUND: Maker = partial(our_worker, make=UnboundWorker)
CONTESTANTS: Mapping[str, Maker] = {"ours": our_worker, "unbound": UNBOUND, "traced": traced_worker, **PEER_MAKERS}
BESIDE_PEERS, BESIDE_TRACED = "100x30@0", "40x30@0"
LATENT = ("1x50@150", "8x50@150", "64x50@150", "1x400@150")
SCENARIOS = (BESIDE_PEERS, BESIDE_TRACED, "10x30@0", "256x30@0", *LATENT, *ALONE)


def main() -> None:
    """Measure what the arguments name, print tables, and write the figures into a file."""
    arguments = _arguments()
    figures: dict[str, object] = {}
    for name in arguments.scenario:
        if name in ALONE:
            figures[name] = ALONE[name]()
            continue
        scenario = Scenario.parse(name)
        threads = requests_alone.threads_for(scenario)
        alone = requests_alone.lines_per_second(threads, scenario.latency)
        show(f"\nrequests alone, {threads} threads, {scenario.latency * 1000:g} ms: {alone:.0f} lines/s")
        rounds = compare(scenario, arguments.only or _contestants_of(name), arguments.rounds)
        report.show_table(scenario, rounds)
        figures[name] = report.figures_of(rounds)
    show(f"written to {report.save(figures)}")


def compare(scenario: Scenario, names: list[str], rounds: int) -> list[Round]:
    """Let the contestants take turns for so many rounds."""
    with ExitStack() as stack:
        broker_url = stack.enter_context(RABBITMQ.running())
        contestants: list[tuple[Contestant, StubConnectWise]] = []
        for name in names:
            # One of its own, as a quantity that somebody else has changed is held.
            stub = stack.enter_context(stub_connectwise(scenario.latency))
            database_url = stack.enter_context(durable_database())
            made = CONTESTANTS[name](broker_url, database_url, report.folder(), scenario, stub)
            contestants.append((stack.enter_context(made), stub))
        turns = range(1, rounds + 1)
        return [run_round(contestant, scenario, turn, stub) for turn in turns for contestant, stub in contestants]


def _contestants_of(scenario: str) -> list[str]:
    others = {BESIDE_PEERS: [*PEERS], BESIDE_TRACED: ["traced"]}
    return ["ours", *others.get(scenario, [])]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=SCENARIOS,
        help=f"PARTNERSxLINES@MILLISECONDS[/PROCESSES], or one of {', '.join(ALONE)}; by default {' '.join(SCENARIOS)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each contestant")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        help=f"contestants, of {','.join(CONTESTANTS)}; by default ours, peers too at {BESIDE_PEERS}, traced at"
        f" {BESIDE_TRACED}",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
