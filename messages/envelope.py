"""What every message shares: the envelope, the strict value types, and the billing period."""

import calendar
import hashlib
import json
import re
import sys
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    UUID7,
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from uuid6 import uuid7

MAX_COUNT = 1_000_000
MAX_LINES = 10_000
MAX_PERIOD_DAYS = 366
MAX_CLOCK_SKEW = timedelta(minutes=5)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
# Control characters, lone surrogates, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _identifier(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("has a character that cannot be seen, or a blank at an end")
    return text


def _printable(text: str) -> str:
    # Most texts are printable in Python's narrower sense too, which is known at once.
    if not text.isprintable() and any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise ValueError("has a control character or half of a surrogate pair")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


def _amqp_short(text: str) -> str:
    if len(text.encode()) > 255:
        raise ValueError("is longer than 255 bytes of UTF-8, which AMQP cannot carry")
    return text


def _number(value: object) -> object:
    # Compared, not converted: an integer may be too large for a float.
    finite = isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max
    if isinstance(value, bool) or not finite:
        raise ValueError("is not a finite number")
    return value


def _time_from_text(value: object, info: ValidationInfo) -> object:
    # pydantic would take "1700000000" for a time too, so JSON text is read here.
    if info.mode != "json":
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("is not a date and time with an offset, like 2026-11-22T10:00:00Z")
    return datetime.fromisoformat(value.upper())


def _utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("has no time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


def _not_in_the_future(value: datetime, info: ValidationInfo) -> datetime:
    now = (info.context or {}).get("now")
    if now is not None and value - now > MAX_CLOCK_SKEW:
        raise ValueError("is more than 5 minutes in the future")
    return value


def _date_from_text(value: object, info: ValidationInfo) -> object:
    if info.mode != "json":
        return value
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("is not a date, like 2026-11-01")
    return date.fromisoformat(value)


def _now() -> datetime:
    return datetime.now(UTC)


Id = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_identifier)]
"""An identifier: 1 to 128 printable characters, no blank at either end."""

CorrelationId = Annotated[Id, AfterValidator(_amqp_short)]
"""An identifier that AMQP's property of this name can carry: at most 255 bytes of UTF-8."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A stable name for machines, like `big_jump`."""

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(_printable), AfterValidator(_not_blank)
]
"""A name for people: 1 to 256 printable characters."""

Text = Annotated[
    str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_printable), AfterValidator(_not_blank)
]
"""A sentence or a URL: 1 to 2000 printable characters."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A number of users or lines: an integer, 0 to 1,000,000; `true`, `"42"` and `42.0` are refused."""

Quantity = Annotated[int | float, BeforeValidator(_number)]
"""A quantity or an amount in ConnectWise: a finite JSON number."""

CwId = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""The id of a record in ConnectWise."""

UtcTime = Annotated[datetime, BeforeValidator(_time_from_text), AfterValidator(_utc)]
"""An aware time, kept in UTC; in JSON an RFC 3339 text, written with `Z`."""

Version = Annotated[UtcTime, AfterValidator(_not_in_the_future)]
"""A time by which the newest of several messages is known: at most 5 minutes in the future.

"Now" is `context["now"]` of the validation; without it, any. So a message is judged once, when it arrives, and not by
the clock of each machine that makes it or reads it again.
"""

TraceParent = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
"""W3C Trace Context."""

Day = Annotated[date, BeforeValidator(_date_from_text)]
"""A calendar date without a time zone; in JSON `2026-11-01`."""


class Part(BaseModel):
    """A JSON object of the contract: strict types, immutable.

    A field that is not declared is an error for who makes one; `wire.decode`, the reader, ignores it.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class BillingPeriod(Part):
    """The days that a quantity is for, both inclusive; at most 366 days."""

    start: Day
    end: Day

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

    id: UUID7 = Field(default_factory=uuid7, json_schema_extra={"format": "uuid"})
    type: str
    time: UtcTime = Field(default_factory=_now)
    source: Name
    partner_id: Id
    correlation_id: CorrelationId
    causation_id: Id | None = None
    traceparent: TraceParent | None = None

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


def plain_text(text: str, limit: int = 2000) -> str:
    """Make text from outside fit a `Name` (limit 256) or a `Text` (2000): unprintable characters become blanks."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(character) in _UNPRINTABLE else character for character in text)
    words = " ".join(text.split())
    return words if len(words) <= limit else f"{words[: limit - 1]}…"
