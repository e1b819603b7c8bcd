"""Fields of a message that no model declares: a newer sender's, or an error that nobody else would tell of."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from messages.envelope import Message, Part

MAX_PATHS = 20

_PLAIN = re.compile(r"[\w-]{1,40}", re.ASCII)


def unknown_fields(
    kind: type[Message], content: Mapping[str, object], shapes: Collection[tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the paths of undeclared fields, like `note` or `lines[].note`, each once and at most 20.

    `shapes` are the names of the fields of each object in the content: few, whatever its size, so a message without
    such fields is not gone through.
    """
    declared = _declared(kind)
    if all(any(fields.issuperset(shape) for fields in declared) for shape in shapes):
        return ()
    found: dict[str, None] = {}
    for path in _undeclared(kind, content, ""):
        found[path] = None
        if len(found) == MAX_PATHS:
            break
    return tuple(found)


def _undeclared(part: type[Part], content: Mapping[str, object], path: str) -> Iterator[str]:
    parts = _parts(part)
    for name, value in content.items():
        if name not in part.model_fields:
            yield path + (name if _PLAIN.fullmatch(name) else f"{name[:40]!a}")
        elif inner := parts.get(name):
            items, place = (value, f"{path}{name}[].") if isinstance(value, list) else ([value], f"{path}{name}.")
            for item in items:
                if isinstance(item, dict):
                    yield from _undeclared(inner, item, place)


@cache
def _declared(part: type[Part]) -> frozenset[frozenset[str]]:
    """The fields of the message, and those of each part of it."""
    return frozenset({frozenset(part.model_fields)}).union(*map(_declared, _parts(part).values()))


@cache
def _parts(part: type[Part]) -> Mapping[str, type[Part]]:
    """The model of each field that is an object, or a list of objects."""
    found = {name: next(_models(field.annotation), None) for name, field in part.model_fields.items()}
    return {name: model for name, model in found.items() if model is not None}


def _models(annotation: Any) -> Iterator[type[Part]]:  # noqa: ANN401 - a type, or what stands for several
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
