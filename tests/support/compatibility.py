"""Whether a schema is compatible with a released one.

jsoncompat decides about types, limits, choices and fields. It does not compare patterns, and gives up where a schema
has conditions between fields: both have to stay as they were, word by word, in each field that both schemas have.
"""

from collections import defaultdict
from collections.abc import Mapping
from json import dumps
from typing import Any, Literal

import jsoncompat

Schema = Mapping[str, Any]
Texts = dict[str, list[dict[str, Any]]]

_TEXTS = {"pattern", "format", "not"}
_CONDITIONS = {"anyOf", "oneOf"}
_WORDS = {"$schema", "$defs", "title", "description", "examples", "default"}


def incompatible(released: Schema, current: Schema, role: Literal["serializer", "deserializer"]) -> list[str]:
    """Return what breaks the partner of a program that had the released schema and has the current one.

    As a deserializer it has to read all that was valid, as a serializer it may write only what was valid.
    """
    before: Texts = defaultdict(list)
    after: Texts = defaultdict(list)
    old, new = (dumps(_plain(one, one, "", texts)) for one, texts in ((released, before), (current, after)))
    shared = sorted(before.keys() & after.keys())
    found = [f"{path or 'the message'}: another pattern or condition" for path in shared if before[path] != after[path]]
    return found + ([] if jsoncompat.check_compat(old, new, role) else [f"jsoncompat refuses it for a {role}"])


def _plain(node: Schema, whole: Schema, path: str, texts: Texts) -> dict[str, Any]:
    """Return the schema without references, and without its texts, which go to `texts` by the path of their field."""
    if "$ref" in node:
        node = whole["$defs"][node["$ref"].rpartition("/")[2]]
    apart = _TEXTS | (_CONDITIONS if "properties" in node else set())
    texts[path] += [{word: node[word]} for word in sorted(apart & node.keys())]
    plain = {word: value for word, value in node.items() if word not in apart | _WORDS}
    if "properties" in plain:
        fields = plain["properties"].items()
        plain["properties"] = {name: _plain(field, whole, f"{path}.{name}", texts) for name, field in fields}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], whole, f"{path}[]", texts)
    for word in _CONDITIONS & plain.keys():
        plain[word] = [_plain(choice, whole, path, texts) for choice in plain[word]]
    return plain
