"""The figures of all rounds as a table, and as a file of JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.benchmarks.rounds import Round
from tests.benchmarks.scenario import Scenario

RESULTS = Path(__file__).with_name("results")
HEADS = ("contestant", "lines/s", "CPU ms/line", "machine", "peak MiB", "GET", "PATCH", "connections")


def show(text: str) -> None:
    """Print a line."""
    print(text, flush=True)  # noqa: T201 - that is what a measurement is for


def show_table(scenario: Scenario, rounds: Sequence[Round]) -> None:
    """Print the medians of each contestant, with the least and the most, and the ratios of ours to the others."""
    by_name: dict[str, list[Round]] = {}
    for one in rounds:
        by_name.setdefault(one.contestant, []).append(one)
    show(f"\n{scenario}: {len(rounds) // len(by_name)} rounds, medians (least to most)")
    show("{:<12}{:>22}{:>22}{:>10}{:>12}{:>8}{:>8}{:>13}".format(*HEADS))
    for name, its in by_name.items():
        show(
            f"{name:<12}{_spread([one.lines_per_second for one in its], 0):>22}"
            f"{_spread([one.cpu_ms_per_line for one in its], 2):>22}"
            f"{median(one.machine_busy for one in its):>10.0%}{median(one.peak_mib for one in its):>12.0f}"
            f"{median(one.gets_per_line for one in its):>8.2f}{median(one.patches_per_line for one in its):>8.2f}"
            f"{median(one.connections for one in its):>13.0f}"
        )
    ours = by_name.pop("ours", [])
    for name, its in by_name.items() if ours else ():
        speed = [mine.lines_per_second / other.lines_per_second for mine, other in zip(ours, its, strict=True)]
        cpu = [mine.cpu_ms_per_line / other.cpu_ms_per_line for mine, other in zip(ours, its, strict=True)]
        show(f"ours / {name}: speed {_spread(speed, 2)}, CPU {_spread(cpu, 2)}")


def folder() -> Path:
    """The folder of the figures, and the newest log of each contestant."""
    RESULTS.mkdir(exist_ok=True)
    return RESULTS


def save(figures: Mapping[str, object]) -> Path:
    """Write figures, by scenario, into a file of this moment's own, and return it."""
    path = folder() / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return path


def figures_of(rounds: Sequence[Round]) -> Sequence[Mapping[str, object]]:
    """All rounds, as they are written into the file."""
    return [asdict(one) for one in rounds]


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
