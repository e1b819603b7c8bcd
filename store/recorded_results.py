"""Results with the JSON by which they are stored and sent, written once."""

from typing import NamedTuple

from messages import SyncResult


class RecordedResult(NamedTuple):
    """A result and its JSON."""

    result: SyncResult
    text: str


def recorded(result: SyncResult) -> RecordedResult:
    """Return the result with its JSON."""
    return RecordedResult(result, result.model_dump_json())


def read_result(text: str) -> SyncResult:
    """Read a recorded result, also one that a newer version wrote."""
    return SyncResult.model_validate_json(text, extra="ignore")
