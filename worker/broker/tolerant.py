"""Deliveries whose properties py-amqp cannot decode, kept from ending the connection and, with it, the worker.

A header with a time in milliseconds or a message id that is not UTF-8 makes it raise in the middle of reading frames:
that would end the connection, deliver everything in hand again, and meet the same message at every attempt.
"""

from typing import Any

from amqp import method_framing
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


def install() -> None:
    """Have py-amqp make these of what it receives; it offers no other place to say so."""
    method_framing.Message = TolerantMessage
