"""The body of a dead letter as text: numbers as they were sent, and masked if it may hold a private key."""

import json
from collections.abc import Iterator
from typing import Any

from messages import KeyRing, SealError
from messages.sealing import unseal_bytes
from store.dead_letter_queries import StoredDeadLetter

BODY_BYTES = 512
# Fields of a masked body whose values are shown.
OPEN_FIELDS = frozenset({"id", "type", "time", "partner_id", "changed_at", "source"})
MASK = "•••"


class _Number(str):
    """A number as it is written: JSON's reader would round or shorten it."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """The fields of an object; one that is there twice is shown twice."""


def body_lines(letter: StoredDeadLetter, keys: KeyRing) -> list[str]:
    """The whole body: JSON is indented, text is as it is, and of other bytes the first are in hex."""
    if letter.sealed_with is not None:
        return _masked_lines(letter, keys)
    try:
        return _indented(letter.body)
    except (ValueError, RecursionError):
        text = text_of(letter.body)
        if text is not None:
            return text.splitlines()
    more = len(letter.body) - BODY_BYTES
    rest = [f"… {more:,} more bytes; `dead-letters export` has all"] if more > 0 else []
    return [*_hex_lines(letter.body[:BODY_BYTES]), *rest]


def text_of(body: bytes) -> str | None:
    """The body as text; None if it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _masked_lines(letter: StoredDeadLetter, keys: KeyRing) -> list[str]:
    size = f"{len(letter.body):,} bytes, sealed with the key {letter.sealed_with}"
    try:
        lines = _indented(unseal_bytes(letter.body, letter.sealed_with or "", keys), masked=True)
    except SealError as error:
        return [f"{size}: {error}"]
    except (ValueError, RecursionError):
        return [f"{size}; no JSON, or too deep, so nothing of it is shown"]
    return [f"{size}; it may hold a private key, so values are masked:", *lines]


def _indented(body: bytes, *, masked: bool = False) -> list[str]:
    """JSON as indented lines. Raises ValueError and RecursionError."""
    content = json.loads(
        body.decode(), object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_Number
    )
    return list(_lines(_masked(content) if masked else content))


def _masked(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, _Object):
        return _Object((name, _masked(item, name)) for name, item in value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value if value is None or isinstance(value, bool) or name in OPEN_FIELDS else MASK


def _lines(value: Any, indent: str = "", before: str = "", after: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON
    inner = f"{indent}  "
    if isinstance(value, list) and value:
        first, last = "{}" if isinstance(value, _Object) else "[]"
        yield f"{indent}{before}{first}"
        for place, item in enumerate(value, 1):
            comma = "," if place < len(value) else ""
            name, content = item if isinstance(value, _Object) else ("", item)
            named = f"{_quoted(name)}: " if isinstance(value, _Object) else ""
            yield from _lines(content, inner, named, comma)
        yield f"{indent}{last}{after}"
    else:
        yield f"{indent}{before}{_single(value)}{after}"


def _single(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, _Number):
        return str(value)
    return "{}" if isinstance(value, _Object) else _quoted(value)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _hex_lines(data: bytes) -> list[str]:
    rows = [(start, data[start : start + 16]) for start in range(0, len(data), 16)]
    return [
        f"{start:08x}  {row.hex(' '):47}  {''.join(chr(c) if 32 <= c < 127 else '.' for c in row)}"
        for start, row in rows
    ]
