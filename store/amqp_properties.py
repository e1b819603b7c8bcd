"""AMQP's properties as text and back, without loss: what JSON cannot hold is tagged."""

import base64
import json
from collections.abc import Mapping, Set
from datetime import datetime
from decimal import Decimal
from typing import Any

REPLAY_HEADER = "phin-replay"
"""The header by which a replay is known: `<dead letter's id>/<n>`, n from 1."""

# A version before put it on messages that came back to their queue; some may be kept still.
_HAD_ITS_TURN = "phin-had-its-turn"

# What the broker adds to a message on its way. A replay that carried it would look dead before it was handled.
_BROKERS_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
# The broker takes `expiration` from what it gives up, refuses another's `user_id`, and all that is ours is persistent.
_PLAIN = (str, int, bool)
_NOT_SENT_ON = frozenset({"expiration", "user_id", "delivery_mode"})


def encoded_size(properties: Mapping[str, Any]) -> int:
    """Return the bytes that AMQP takes for these, or a few more: each value counts as the longest of its kind."""
    size, waiting = 0, [*properties, *properties.values()]
    while waiting:
        # Without recursion: this is asked before anything is known of them.
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
    """Write properties, or anything that AMQP's tables hold. Raises TypeError for what they do not."""
    return json.dumps(properties if _is_plain(properties) else _tagged(dict(properties)), sort_keys=True)


def loads(text: str) -> dict[str, Any]:
    """Read what `dumps` wrote: equal values of the same types."""
    # Without a tag there is nothing to look for; most properties are of that kind, and there are many.
    read: dict[str, Any] = _untagged(json.loads(text)) if '"$' in text else json.loads(text)
    return read


def as_sent(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sender's properties, which a replay repeats: without those that the broker or our replay added."""
    return _sendable(properties, without={REPLAY_HEADER, _HAD_ITS_TURN})


def as_copied(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a copy for the same queue: without what the broker added."""
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
    """True if JSON holds these as they are, without a look into tables: properties of our own messages."""
    headers = properties.get("headers") or {}
    return (
        type(properties) is dict
        and type(headers) is dict
        and all(value is None or type(value) in _PLAIN for name, value in properties.items() if name != "headers")
        and all(type(name) is type(value) is str and name[:1] != "$" for name, value in headers.items())
    )


def _tagged(value: Any) -> Any:  # noqa: ANN401 - whatever a sender put into a table
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
            # Names that are no text, or that look like our tags.
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
