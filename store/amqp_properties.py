"""AMQP properties as JSON text and back, without loss: values that JSON cannot hold are tagged."""

import base64
import json
from collections.abc import Mapping, Set
from datetime import datetime
from decimal import Decimal
from typing import Any

REPLAY_HEADER = "phin-replay"
"""The header that marks a replay: `<dead letter's id>/<n>`, n from 1."""

# An earlier version set it on requeued messages; some of these may still be stored.
_OBSOLETE_HEADER = "phin-had-its-turn"

# Headers that the broker adds. A replay that carried them would look dead before it was handled.
_BROKERS_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_PLAIN = (str, int, bool)
# `expiration` would let a replay expire again, the broker refuses another's `user_id`, and we send all as persistent.
_NOT_SENT_ON = frozenset({"expiration", "user_id", "delivery_mode"})


def encoded_size(properties: Mapping[str, Any]) -> int:
    """Return the bytes that these take in AMQP, or a few more: each value counts as the longest of its type."""
    size, waiting = 0, [*properties, *properties.values()]
    while waiting:
        # No recursion: untrusted properties may be nested deeply.
        match waiting.pop():
            case str(text):
                size += 5 + len(text.encode("utf-8", "surrogatepass"))
            case bytes(octets):
                size += 5 + len(octets)
            case list(items) | tuple(items):
                size += 5
                waiting += items
            case dict(table):
                size += 5
                waiting += [*table, *table.values()]
            case _:
                size += 9
    return size


def dumps(properties: Mapping[str, Any]) -> str:
    """Write properties, or anything that an AMQP table can hold. Raises TypeError for other values."""
    return json.dumps(properties if _is_plain(properties) else _tagged(dict(properties)), sort_keys=True)


def loads(text: str) -> dict[str, Any]:
    """Read what `dumps` wrote: equal values of the same types."""
    # Most properties have no tag, and there are many of them.
    read: dict[str, Any] = _untagged(json.loads(text)) if '"$' in text else json.loads(text)
    return read


def as_sent(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sender's properties, without those that the broker or our replay added."""
    return _sendable(properties, without={REPLAY_HEADER, _OBSOLETE_HEADER})


def as_copied(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a copy for the same queue: without those that the broker added."""
    return _sendable(properties, without=frozenset())


def _sendable(properties: Mapping[str, Any], *, without: Set[str]) -> dict[str, Any]:
    headers = {
        name: value
        for name, value in (properties.get("headers") or {}).items()
        if name not in without and not str(name).startswith(_BROKERS_HEADERS)
    }
    kept = {name: value for name, value in properties.items() if value is not None and name not in _NOT_SENT_ON}
    return {name: value for name, value in kept.items() if name != "headers"} | (
        {"headers": headers} if headers else {}
    )


def _is_plain(properties: Mapping[str, Any]) -> bool:
    """True if JSON can hold these unchanged, as it can those of our own messages; nested tables count as not plain."""
    headers = properties.get("headers") or {}
    return (
        type(properties) is dict
        and type(headers) is dict
        and all(value is None or type(value) in _PLAIN for name, value in properties.items() if name != "headers")
        and all(type(name) is type(value) is str and name[:1] != "$" for name, value in headers.items())
    )


def _tagged(value: Any) -> Any:  # noqa: ANN401 - any value of an AMQP table
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$time": value.isoformat()}
        case Decimal():
            return {"$decimal": str(value)}
        case list() | tuple():
            return [_tagged(item) for item in value]
        case dict() if all(isinstance(name, str) and not name.startswith("$") for name in value):
            return {name: _tagged(item) for name, item in value.items()}
        case dict():
            # Names that are not text, or that look like our tags.
            return {"$table": [[_tagged(name), _tagged(item)] for name, item in value.items()]}
    raise TypeError(f"AMQP has no {type(value).__name__}")


def _untagged(value: Any) -> Any:  # noqa: ANN401 - what _tagged made
    match value:
        case list():
            return [_untagged(item) for item in value]
        case {"$bytes": str(text)}:
            return base64.b64decode(text)
        case {"$time": str(text)}:
            return datetime.fromisoformat(text)
        case {"$decimal": str(text)}:
            return Decimal(text)
        case {"$table": list(pairs)}:
            return {_untagged(name): _untagged(item) for name, item in pairs}
        case dict():
            return {name: _untagged(item) for name, item in value.items()}
    return value
