"""The parts that every message shares: the envelope, and the billing period."""

import calendar
import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from uuid6 import uuid7

from messages.vocabulary import (
    Causation,
    Correlation,
    FirstDay,
    LastDay,
    MessageId,
    PartnerId,
    SentAt,
    Source,
    Trace,
)

MAX_PERIOD_DAYS = 366

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)


def _now() -> datetime:
    return datetime.now(UTC)


class Part(BaseModel):
    """A JSON object of the contract: strict types, immutable.

    A field that is not declared is an error for who makes one; `wire.decode`, the reader, ignores it. The text below a
    field is its description in the schema.
    """

    # Built when first used: a command that reads a few kinds does not wait for all.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class BillingPeriod(Part):
    """The days that a quantity is for, both inclusive; at most 366 days."""

    start: FirstDay
    """The first day."""
    end: LastDay
    """The last day; not before the first, and at most 365 days after it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError("ends before it starts")
        if (self.end - self.start).days >= MAX_PERIOD_DAYS:
            raise ValueError(f"is longer than {MAX_PERIOD_DAYS} days")
        return self

    @property
    def key(self) -> str:
        """`2026-11` for a calendar month, else `2026-11-15/2026-12-14`."""
        month = _calendar_month(self.start.year, self.start.month)
        if (self.start, self.end) == month:
            return self.start.isoformat()[:7]
        return f"{self.start.isoformat()}/{self.end.isoformat()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read either form of `key`. Raises ValueError saying what is wrong with the text."""
        try:
            start, end = _read_key(text)
            return cls(start=start, end=end)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"billing period {text!r} {reason}") from None
        except ValueError as error:
            raise ValueError(f"billing period {text!r}: {error}") from None

    def __str__(self) -> str:
        return self.key


def _calendar_month(year: int, month: int) -> tuple[date, date]:
    first = date(year, month, 1)
    return first, first.replace(day=calendar.monthrange(year, month)[1])


def _read_key(text: str) -> tuple[date, date]:
    if month := _MONTH.fullmatch(text):
        return _calendar_month(int(month[1]), int(month[2]))
    first, _, last = text.partition("/")
    if not (_DATE.fullmatch(first) and _DATE.fullmatch(last)):
        raise ValueError("write a month, 2026-11, or two dates, 2026-11-15/2026-12-14")
    return date.fromisoformat(first), date.fromisoformat(last)


class Message(Part):
    """The envelope in every body. `type` is `kind.vN`: the AMQP type and the routing key too."""

    id: MessageId = Field(default_factory=uuid7)
    """Names this message; the same at each repetition. A UUID of any version."""
    type: str
    """Kind and version of the message; the AMQP type and the routing key too."""
    time: SentAt = Field(default_factory=_now)
    """When the message was made."""
    source: Source
    """Name of the program that made the message."""
    partner_id: PartnerId
    """The managed service provider, by its id in Phin, whose message this is."""
    correlation_id: Correlation
    """Chosen by who asks, and the same in each answer; also AMQP's property of this name."""
    causation_id: Causation | None = None
    """The id of the message that this one follows from."""
    traceparent: Trace | None = None
    """W3C Trace Context of the question, and of its answers; a check has none, since several may ask for one."""

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        # A sender's defaults would give the same body another id at every reading.
        missing = {"id", "type", "time", "source"} - self.model_fields_set
        if info.mode == "json" and missing:
            raise ValueError(f"misses {', '.join(sorted(missing))}")
        return self


def type_of(message_class: type[Message]) -> str:
    """Return the `type` that messages of this class carry, like `push.requested.v1`."""
    return str(message_class.model_fields["type"].default)


def derived_id(at: datetime, *parts: str) -> UUID:
    """Return a UUIDv7 that is the same whenever the aware time and the parts are.

    For a message that two writers may make at once, or one may make twice.
    """
    milliseconds = (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    value = (milliseconds % 2**48) << 80 | int.from_bytes(digest[:10], "big")
    # RFC 9562: version 7 in bits 48 to 51, variant 0b10 in bits 64 and 65, counted from the left.
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
