"""Deliveries whose properties py-amqp cannot decode or would change, kept from harm.

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


class TolerantMessage(Message):  # type: ignore[misc] # py-amqp has no types
    """A message that keeps properties which cannot be decoded as they came, in hexadecimal, in one header."""

    def _load_properties(self, class_id: int, buf: Any, offset: int) -> int:  # noqa: ANN401 - bytes or a view of them
        try:
            loaded: int = super()._load_properties(class_id, buf, offset)
        except Exception:  # noqa: BLE001 - whatever a sender can make of them
            self.properties = {"application_headers": {UNDECODABLE: bytes(buf[offset:]).hex()}}
            return offset
        return loaded


_write_item: Callable[[Any, Callable[[bytes], object], Any], None] = serialization._write_item  # noqa: SLF001


def _write_bytes_as_bytes(value: Any, write: Callable[[bytes], object], bits: Any) -> None:  # noqa: ANN401 - py-amqp's
    if isinstance(value, bytes):
        write(struct.pack(">cI", b"x", len(value)))
        write(value)
    else:
        _write_item(value, write, bits)


def install() -> None:
    """Have py-amqp receive and write so; it offers no other place to say it."""
    method_framing.Message = TolerantMessage
    serialization._write_item = _write_bytes_as_bytes  # noqa: SLF001
