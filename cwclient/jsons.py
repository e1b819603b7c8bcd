"""JSON from a server that may be hostile."""

import json
import math
import re

#: Brackets and commas; a page of 1,000 records has a fraction. `[[],[],…` takes 20 times its own size in memory.
MAX_VALUES = 500_000
#: Characters; a record has a few thousand. A search in megabytes of digits would keep all other threads from working.
MAX_SEARCHED = 16_384


def loads(text: str | bytes) -> object:
    """Return the value. Raises ValueError for what is no JSON (NaN too), nested too deeply, or of too many values.

    It also does for a number that no double holds, such as 1e999: it would be read as infinity, or fail later.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    if sum(map(text.count, "[{,")) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        may_be_plain = len(text) <= MAX_SEARCHED and not _PERHAPS_TOO_LARGE.search(text)
        return (_PLAIN if may_be_plain else _CAREFUL).decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]}… is no number that can be held")
    return value


def _bounded(text: str) -> int:
    _finite(text)
    return int(text)


_PERHAPS_TOO_LARGE = re.compile("[0-9]{300}|[0-9][eE]", re.ASCII)
_PLAIN = json.JSONDecoder(parse_constant=_refuse_constant)
_CAREFUL = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded)
