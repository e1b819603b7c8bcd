"""The report that a run prints: what was survived, and the checker's columns."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from messages import Message, SyncResult
from tests.chaos.checker import Findings

EXPLAINED = 5
TIMED_OUT = b"has timed out waiting for delivery acknowledgement"


def survived(
    console: Console,
    disturbed: Mapping[str, int],
    log: Sequence[Mapping[str, Any]],
    spoiled: int,
    received: Sequence[Message],
) -> None:
    """Print the counts of what happened. The first `spoiled` requests of the log were made while faults were on."""
    table = Table("survived", "", show_header=False, box=None)
    for what, count in sorted(disturbed.items()):
        table.add_row(what, str(count))
    hit = Counter(str(record["fault"]) for record in log if record["fault"])
    table.add_row("requests to ConnectWise", str(len(log)))
    table.add_row("of them while faults were on", str(spoiled))
    table.add_row("with a fault", f"{sum(hit.values())} ({sum(hit.values()) / max(1, spoiled):.1%}): {_listed(hit)}")
    table.add_row("PATCH requests", str(sum(record["method"] == "PATCH" for record in log)))
    table.add_row("messages received", f"{len(received)}: {_listed(Counter(message.type for message in received))}")
    distinct = {str(message.id): message for message in received if isinstance(message, SyncResult)}
    table.add_row("results of lines", f"{len(distinct)}: {_listed(Counter(one.status for one in distinct.values()))}")
    why = Counter(
        one.problem.code for one in distinct.values() if one.problem is not None and one.status in {"failed", "held"}
    )
    table.add_row("failed or held for", _listed(why) or "none")
    console.print(table)


def consumer_timeouts(files: Iterable[tuple[str, bytes]]) -> int:
    """The number of times that RabbitMQ's logs tell of a closed channel of a worker that held a message too long."""
    return sum(content.count(TIMED_OUT) for name, content in files if name.endswith(".log"))


def verdict(console: Console, findings: Findings) -> bool:
    """Print each column's count and its first findings; whether all are 0."""
    table = Table("checked", "found")
    for name, found in findings.items():
        table.add_row(name, str(len(found)))
    console.print(table)
    for name, found in findings.items():
        for one in found[:EXPLAINED]:
            console.print(f"{name}: {one}", markup=False, highlight=False, soft_wrap=True)
        if len(found) > EXPLAINED:
            console.print(f"{name}: … and {len(found) - EXPLAINED} more")
    return not any(findings.values())


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
