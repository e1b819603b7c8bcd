"""Properties that py-amqp cannot decode, or would change, or that we cannot store, do no harm.

A header with a time in milliseconds or a message id that is not UTF-8 makes it raise in the middle of reading frames:
that would end the connection, deliver everything in hand again, and meet the same message at every attempt. And it
reads a table's byte arrays as bytes but writes bytes as long strings, which a reader takes for text.
"""

import struct
from collections.abc import Callable
from typing import Any

from amqp import method_framing, serialization
from amqp.basic_message import Message

UNDECODABLE = "x-undecodable-properties"
# Tables and lists within each other; Python's recursion ends at some hundreds.
DEEPEST = 100


class TolerantMessage(Message):  # type: ignore[misc] # py-amqp has no types
    """A message that keeps undecodable properties as they came, in hexadecimal, in one header."""

    properties: dict[str, Any]

    def _load_properties(self, class_id: int, buf: Any, offset: int) -> int:  # noqa: ANN401 - bytes or a view of them
        try:
            loaded: int = super()._load_properties(class_id, buf, offset)
            if _is_deep(self.properties):
                raise ValueError("nested deeper than can be stored")  # noqa: TRY301 - kept like what cannot be decoded
        except Exception:  # noqa: BLE001 - whatever a sender can make of them
            self.properties = {"application_headers": {UNDECODABLE: bytes(buf[offset:]).hex()}}
            return offset
        return loaded


def _is_deep(properties: dict[str, Any]) -> bool:
    level: list[Any] = [properties]
    for _ in range(DEEPEST):
        tables = [value.values() if isinstance(value, dict) else value for value in level]
        level = [value for table in tables for value in table if isinstance(value, dict | list)]
        if not level:
            return False
    return True


_write_item: Callable[[Any, Callable[[bytes], object], Any], None] = serialization._write_item  # noqa: SLF001


def _write_bytes_as_bytes(value: Any, write: Callable[[bytes], object], bits: Any) -> None:  # noqa: ANN401 - py-amqp's
    if isinstance(value, bytes):
        write(struct.pack(">cI", b"x", len(value)))
        write(value)
    else:
        _write_item(value, write, bits)


def install() -> None:
    """Replace these parts of py-amqp, which offers no other way."""
    method_framing.Message = TolerantMessage
    serialization._write_item = _write_bytes_as_bytes  # noqa: SLF001
