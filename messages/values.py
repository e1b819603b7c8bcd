"""The strict value types of the contract, each with the schema that says the same to a sender.

A pattern is one text for Python and for ECMAScript: what its schema allows is what a type takes.
"""

import re
import sys
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

MAX_COUNT = 1_000_000
MAX_LINES = 10_000
MAX_CLOCK_SKEW = timedelta(minutes=5)

# Control characters, line and paragraph separators, halves of surrogate pairs.
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff"
_BLANK = r"\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# Soft hyphen, zero-width and direction characters, byte order mark.
_INVISIBLE = r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_SEEN = _CONTROL + _BLANK + _INVISIBLE

ID_PATTERN = rf"^[^ {_SEEN}](?:[^{_SEEN}]*[^ {_SEEN}])?$"
NAME_PATTERN = rf"^[ {_BLANK}]*[^ {_CONTROL}{_BLANK}][^{_CONTROL}]*$"
UUID_PATTERN = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
_DATE = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_REST = rf"-{_DATE}[Tt]{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:[Zz]|[+-]{_CLOCK})$"
# A year less at both ends than is read: in UTC it may be the year before, or after.
TIME_PATTERN = rf"^(?:190[1-9]|19[1-9][0-9]|2[0-8][0-9]{{2}}|29[0-8][0-9]|299[0-8]){_REST}"
DAY_PATTERN = rf"^(?:[1-9][0-9]{{3}}|0[1-9][0-9]{{2}}|00[1-9][0-9]|000[1-9])-{_DATE}$"

FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)

MAX_ANY = 63
"""So many characters have at most 252 bytes of UTF-8; AMQP's short texts carry 255."""

_TIME = re.compile(rf"^(?:19|2[0-9])[0-9]{{2}}{_REST}")
_DAY = re.compile(DAY_PATTERN)
_ID = re.compile(ID_PATTERN)
_NAME = re.compile(NAME_PATTERN)
_UUID = re.compile(UUID_PATTERN)
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _identifier(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("has a character that cannot be seen, or a blank at an end")
    return text


def _printable(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("has a control character or half of a surrogate pair" if text.strip() else "is blank")
    return text


def _amqp_short(text: str) -> str:
    if len(text) > MAX_ANY and not text.isascii():
        raise ValueError(f"is longer than {MAX_ANY} characters, which AMQP may not carry unless all are ASCII")
    return text


def _whole(value: object, info: ValidationInfo) -> object:
    # JSON has one kind of number: a sender's 42.0 is 42.
    if info.mode == "json" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: object) -> object:
    # Compared, not converted: an integer may be too large for a float.
    finite = isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max
    if isinstance(value, bool) or not finite:
        raise ValueError("is not a finite number")
    return value


def _uuid_from_text(value: object, info: ValidationInfo) -> object:
    # pydantic would take braces, a URN and 32 digits for a UUID too.
    if info.mode != "json":
        return value
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("is not a UUID, like 0197a2f4-7c00-7abc-8def-0123456789ab")
    return UUID(value)


def _time_from_text(value: object, info: ValidationInfo) -> object:
    # pydantic would take "1700000000" for a time too, so JSON text is read here.
    if info.mode != "json":
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("is not a date and time with an offset, like 2026-11-22T10:00:00Z")
    return datetime.fromisoformat(value.upper())


def _utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("has no time zone")
    if not FIRST < value < LAST:
        raise ValueError("is outside the years 1900 to 2999")
    return value.astimezone(UTC)


def _not_in_the_future(value: datetime, info: ValidationInfo) -> datetime:
    now = (info.context or {}).get("now")
    if now is not None and value - now > MAX_CLOCK_SKEW:
        raise ValueError("is more than 5 minutes in the future")
    return value


def _date_from_text(value: object, info: ValidationInfo) -> object:
    if info.mode != "json":
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("is not a date, like 2026-11-01")
    return date.fromisoformat(value)


@dataclass(frozen=True, eq=False)
class Words:
    """The keywords that a type has in its schema beside those that pydantic finds."""

    words: dict[str, Any]

    @classmethod
    def like(cls, example: object, unit: str | None = None) -> Self:
        """Give an example and, of a number, its unit."""
        return cls({"examples": [example]} | ({"unit": unit} if unit else {}))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the words."""
        return handler(core) | self.words


Uuid = Annotated[UUID, BeforeValidator(_uuid_from_text), Words({"pattern": UUID_PATTERN})]
"""A UUID of any version (RFC 9562), in JSON as 8-4-4-4-12 hexadecimal digits."""

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_identifier),
    Words({"pattern": ID_PATTERN}),
]
"""An identifier: 1 to 128 printable characters, no blank at either end."""

CorrelationId = Annotated[
    Id,
    AfterValidator(_amqp_short),
    Words({"anyOf": [{"maxLength": MAX_ANY}, {"pattern": r"^[\u0000-\u007f]*$"}]}),
]
"""An identifier that AMQP's property of this name can carry: at most 63 characters, or 128 if all are ASCII."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A stable name for machines, like `big_jump`."""

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    AfterValidator(_printable),
    Words({"pattern": NAME_PATTERN}),
]
"""A name for people: 1 to 256 printable characters."""

Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    AfterValidator(_printable),
    Words({"pattern": NAME_PATTERN}),
]
"""A sentence or a URL: 1 to 2000 printable characters."""

WHOLE = BeforeValidator(_whole)
"""Of an integer: in JSON it may be written as 42.0, which JSON does not tell from 42. After its bounds."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT), WHOLE]
"""A number of users or lines: an integer, 0 to 1,000,000; `true` and `"42"` are refused."""

Quantity = Annotated[
    int | float,
    BeforeValidator(_number),
    WithJsonSchema({"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}),
]
"""A quantity or an amount in ConnectWise: a finite JSON number."""

CwId = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
"""The id of a record in ConnectWise."""

UtcTime = Annotated[
    datetime,
    BeforeValidator(_time_from_text),
    AfterValidator(_utc),
    Words({"pattern": TIME_PATTERN}),
]
"""An aware time, kept in UTC; in JSON an RFC 3339 text of the years 1901 to 2998, written with `Z`."""

Version = Annotated[UtcTime, AfterValidator(_not_in_the_future)]
"""A time by which the newest of several messages is known: at most 5 minutes in the future.

"Now" is `context["now"]` of the validation; without it, any. So a message is judged once, when it arrives, and not by
the clock of each machine that makes it or reads it again.
"""

TraceParent = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
"""W3C Trace Context."""

Day = Annotated[date, BeforeValidator(_date_from_text), Words({"pattern": DAY_PATTERN})]
"""A calendar date without a time zone; in JSON `2026-11-01`."""


def plain_text(text: str, limit: int = 2000) -> str:
    """Make text from outside fit a `Name` (limit 256) or a `Text` (2000): unprintable characters become blanks."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(character) in _UNPRINTABLE else character for character in text)
    words = " ".join(text.split())
    return words if len(words) <= limit else f"{words[: limit - 1]}…"
