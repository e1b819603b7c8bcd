"""JSON from a server that may be hostile."""

import json

#: Brackets and commas; a page of 1,000 records has a fraction. `[[],[],…` takes 20 times its own size in memory.
MAX_VALUES = 500_000


def loads(text: str | bytes) -> object:
    """Return the value. Raises ValueError for what is no JSON (NaN too), nested too deeply, or of too many values."""
    marks = [text.count(mark) for mark in "[{,"] if isinstance(text, str) else [text.count(mark) for mark in b"[{,"]
    if sum(marks) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
