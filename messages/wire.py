"""Messages to and from AMQP: a JSON body and the properties that name it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from pydantic import TypeAdapter, ValidationError

from messages.catalog import CatalogKind, CatalogListed, CatalogRequested, ReplyTo
from messages.checks import ConnectionChecked, MappingChecked
from messages.completions import PushCompleted
from messages.contract_error import ContractError, ContractReason
from messages.envelope import BillingPeriod, Message, type_of
from messages.events import (
    CompanyIds,
    ConnectionChanged,
    ConnectionCheckRequested,
    MappingChanged,
    MappingCheckRequested,
    PushCancelRequested,
    PushMode,
    PushRequested,
    RevertRequested,
)
from messages.results import SyncResult
from messages.spelling import misspelt
from messages.unknown_fields import unknown_fields
from messages.values import MAX_LINES, CorrelationId, Id, TraceParent, UtcTime, Uuid

EXCHANGE_IN = "phin.billing"
EXCHANGE_OUT = "connectwise.sync"

INPUTS: tuple[type[Message], ...] = (
    ConnectionChanged,
    ConnectionCheckRequested,
    MappingChanged,
    MappingCheckRequested,
    CatalogRequested,
    PushRequested,
    PushCancelRequested,
    RevertRequested,
)
OUTPUTS: tuple[type[Message], ...] = (ConnectionChecked, MappingChecked, CatalogListed, SyncResult, PushCompleted)
KINDS: Mapping[str, type[Message]] = {type_of(kind): kind for kind in INPUTS + OUTPUTS}
"""The class of each `type`."""

MAX_BODY = 16 * 1024 * 1024
"""Bytes in a body; RabbitMQ takes no more since 4.0."""

MAX_PROPERTIES = 64 * 1024
"""Bytes in a message's properties. RabbitMQ takes twice as many, in one frame; those who pass it on add to them."""

CONTENT_TYPE = "application/json"

_NAMES = {name.rpartition(".")[0] for name in KINDS}
_FIELD = re.compile(r"[a-z_]{1,40}", re.ASCII)
_SHOWN_ERRORS = 5
_ID: TypeAdapter[str] = TypeAdapter(Id)
_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)
_TRACEPARENT: TypeAdapter[str] = TypeAdapter(TraceParent)
_COPIED: dict[str, Any] = {
    "company_id": Id,
    "company_ids": CompanyIds,
    "changed_at": UtcTime,
    "requested_at": UtcTime,
    "mode": PushMode,
    "period": BillingPeriod,
    "kind": CatalogKind,
    "reply_to": ReplyTo,
    "id": Uuid,
    "traceparent": TraceParent,
}
_NAMED: Mapping[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in _COPIED.items()}


@dataclass(frozen=True)
class Properties:
    """AMQP basic properties, under their own names."""

    message_id: str
    type: str
    correlation_id: str
    content_type: str = CONTENT_TYPE
    delivery_mode: int = 2
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """A message as the broker carries it."""

    body: bytes
    properties: Properties

    @property
    def routing_key(self) -> str:
        """The type."""
        return self.properties.type


def encode(message: Message) -> Wire:
    """Write a message. Raises ContractError `too_large` if no reader would take it."""
    body = message.model_dump_json().encode()
    if len(body) > MAX_BODY:
        raise ContractError("too_large", f"{len(body)} bytes, at most {MAX_BODY} are taken")
    properties = Properties(
        message_id=str(message.id),
        type=message.type,
        correlation_id=message.correlation_id,
        headers={"traceparent": message.traceparent} if message.traceparent else {},
    )
    return Wire(body, properties)


def decode(
    body: bytes,
    *,
    type: str | None,  # noqa: A002 - the AMQP property's name
    content_type: str | None,
    correlation_id: str | None = None,
    headers: Mapping[str, object] | None = None,
    properties_size: int = 0,
    now: datetime | None = None,
    tell_ignored: Callable[[Message, Sequence[str]], None] | None = None,
) -> Message:
    """Read a message; ignores unknown fields. Raises ContractError, and nothing else, whatever the bytes.

    One that is a field's name in other letters (`quantityWanted`) is refused: what it was to limit would have no limit.

    `type` and `content_type` are the AMQP properties; one that is absent (None) is not checked. A `traceparent` header
    is used if the body has none, and for a refusal the property `correlation_id` too. `properties_size`: the bytes of
    all properties. `now` is the time that versions are held against when the message arrives; None = it has arrived
    before. `tell_ignored` is called with the message and the paths of its unknown fields, if it has any.
    """
    if content_type is not None and content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise ContractError("content_type", f"the content type is not {CONTENT_TYPE}")
    shapes: set[tuple[str, ...]] = set()
    content = _parse(body, shapes)
    named = content.get("type")
    # A body that names no type is refused, but its sender waits for the answer to what AMQP names.
    meant = type if named is None else named
    kind = KINDS.get(meant) if isinstance(meant, str) else None
    from_header = _taken((headers or {}).get("traceparent"), _TRACEPARENT)
    refusal = partial(
        ContractError,
        type=type_of(kind) if kind else None,
        partner_id=_readable(content, "partner_id", _ID),
        push_id=_readable(content, "revert_id" if kind is RevertRequested else "push_id", _ID),
        correlation_id=_readable(content, "correlation_id", _CORRELATION_ID) or _taken(correlation_id, _CORRELATION_ID),
        named=({"traceparent": from_header} if from_header else {}) | _named(content),
    )
    if properties_size > MAX_PROPERTIES:
        raise refusal(
            "too_large", f"the AMQP properties have {properties_size} bytes, at most {MAX_PROPERTIES} are taken"
        )
    if type is not None and type != named:
        raise refusal("type_mismatch", "the AMQP type and the type in the body differ")
    if kind is None:
        raise refusal(*_unknown(named))
    if said := misspelt(set(chain.from_iterable(shapes))):
        raise refusal("invalid", "; ".join(said[:_SHOWN_ERRORS]))
    for name in kind.model_fields:
        # No list of ours is longer; pydantic would tell of every item what is wrong with it first.
        if isinstance(value := content.get(name), list) and len(value) > MAX_LINES:
            raise refusal("invalid", f"{name}: has {len(value)} items, at most {MAX_LINES} are taken")
    invalid = None
    try:
        message = kind.model_validate_json(body, extra="ignore", context={"now": now})
    except ValidationError as error:
        invalid = _invalid(error)
    if invalid is not None:
        # Not inside the handler: pydantic's error would be its context, and keep frames with the whole body alive.
        raise refusal(*invalid)
    if tell_ignored is not None and (paths := unknown_fields(kind, content, shapes)):
        tell_ignored(message, paths)
    if message.traceparent is None and from_header:
        return message.model_copy(update={"traceparent": from_header})
    return message


def _parse(body: bytes, shapes: set[tuple[str, ...]]) -> dict[str, object]:
    """The object; adds the names of the fields of each object in it, at any depth, to `shapes`."""
    if len(body) > MAX_BODY:
        raise ContractError("too_large", f"{len(body)} bytes, at most {MAX_BODY} are taken")
    refusal: tuple[ContractReason, str] = ("not_an_object", "the body is not a JSON object")
    try:
        content = json.loads(body.decode(), object_pairs_hook=partial(_unique, shapes), parse_constant=_no_constant)
        if isinstance(content, dict):
            return content
    except UnicodeDecodeError as error:
        refusal = ("not_utf8", f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        refusal = ("not_json", f"{error.msg} at character {error.pos}")
    except ValueError:
        refusal = ("not_json", "a number has too many digits")
    except RecursionError:
        refusal = ("too_deep", "objects or arrays are nested too deeply")
    # Raised here, it has no context: json's errors hold the document, and frames that hold it.
    raise ContractError(*refusal)


def _unique(shapes: set[tuple[str, ...]], pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    shapes.add(tuple(content))
    if len(content) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        shown = repr(twice) if _FIELD.fullmatch(twice) else "a field"
        raise ContractError("duplicate_key", f"an object has {shown} twice")
    return content


def _no_constant(name: str) -> object:
    raise ContractError("not_json", f"{name} is not a JSON number")


def _unknown(named: object) -> tuple[ContractReason, str]:
    if not isinstance(named, str):
        return "unknown_type", "the body names no type"
    name, _, version = named.rpartition(".")
    if name in _NAMES and re.fullmatch(r"v\d+", version, re.ASCII):
        return "unknown_version", f"version {version[:10]} of {name} is not known here"
    return "unknown_type", f"the type {named[:80]!a} is not known here"


def _invalid(error: ValidationError) -> tuple[ContractReason, str]:
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        if "recursion" in errors[0]["msg"]:
            return "too_deep", "objects or arrays are nested too deeply"
        return "not_json", errors[0]["msg"].removeprefix("Invalid JSON: ")
    # A list whose only item is wrong is reported as too short besides.
    told = [one for one in errors if one["type"] != "too_short"] or errors
    shown = [f"{_path(one['loc'])}{one['msg'].removeprefix('Value error, ')}" for one in told[:_SHOWN_ERRORS]]
    if len(told) > len(shown):
        shown.append(f"and {len(told) - len(shown)} more")
    return "invalid", "; ".join(shown)


def _path(location: Sequence[int | str]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{path.removeprefix('.')}: " if path else ""


def _readable(content: Mapping[str, object], name: str, adapter: TypeAdapter[str]) -> str | None:
    """The value, if a field of that type in an answer takes it."""
    return _taken(content.get(name), adapter)


def _taken(value: object, adapter: TypeAdapter[str]) -> str | None:
    return value if isinstance(value, str) and _is_valid(adapter, value) else None


def _named(content: Mapping[str, object]) -> dict[str, Any]:
    """The fields that answers repeat, as far as they can be read."""
    found: dict[str, Any] = {}
    for name, adapter in _NAMED.items():
        if content.get(name) is not None:
            with suppress(ValidationError, RecursionError):
                found[name] = adapter.validate_json(json.dumps(content[name]))
    return found


def _is_valid(adapter: TypeAdapter[str], value: object) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
