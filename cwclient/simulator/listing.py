"""Lists: which rows, in which order, which page and which fields (connectwise-api.md 4.2, 4.4)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cwclient.simulator.conditions import compile_conditions
from cwclient.simulator.errors import bad_query
from cwclient.simulator.schema import Field, Record, find_field, value_at

DEFAULT_PAGE_SIZE = 25
MAX_PAGE_SIZE = 1000

Query = Mapping[str, str]


class Page(NamedTuple):
    """The records of one page, and its Link header; None if there is nothing to link to."""

    records: list[Record]
    link: str | None


def matching(records: Iterable[Record], fields: Mapping[str, Field], query: Query) -> list[Record]:
    """Return the records that satisfy `conditions`, in the order they came.

    Raises ApiError (400) for bad conditions, and for `childConditions` and `customFieldConditions`, which the simulator
    does not know.
    """
    for name in ("childConditions", "customFieldConditions"):
        if query.get(name):
            raise bad_query(f"The simulator does not support {name}")
    conditions = query.get("conditions", "")
    if not conditions.strip():
        return list(records)
    predicate = compile_conditions(conditions, fields)
    return [record for record in records if predicate(record)]


def numbered_page(records: list[Record], fields: Mapping[str, Field], query: Query, url: str) -> Page:
    """Cut out page `page` of `pageSize` records, ordered by `orderBy`, with links first, prev, next and last.

    `url` is the absolute address of the list without its query. Raises ApiError (400).
    """
    size, page = _page_size(query), _positive(query, "page", 1)
    ordered = _ordered(records, fields, query.get("orderBy", ""))
    last = max(1, -(-len(ordered) // size))
    targets = {"first": 1, "prev": min(page - 1, last), "next": page + 1 if page < last else 0, "last": last}
    # The page number comes last, as clients cut it out of the link by its end.
    link = ", ".join(
        f'<{_url(url, query, {"pageSize": size, "page": target})}>; rel="{relation}"'
        for relation, target in targets.items()
        if target
    )
    return Page(ordered[(page - 1) * size : page * size], link)


def forward_only_page(records: list[Record], query: Query, url: str) -> Page:
    """Return the next `pageSize` records whose id is above `pageId`; `orderBy` and `page` are ignored.

    Raises ApiError (400).
    """
    size, after = _page_size(query), _positive(query, "pageId", 0)
    rest = [record for record in records if record["id"] > after]
    page = rest[:size]
    if len(rest) <= size:
        return Page(page, None)
    return Page(page, f'<{_url(url, query, {"pageSize": size, "pageId": page[-1]["id"]})}>; rel="next"')


def projected(record: Record, fields: Mapping[str, Field], query: Query) -> Record:
    """Keep only the `fields` asked for, all of them if none are. Raises ApiError (400) for an unknown one."""
    names = [name.strip() for name in query.get("fields", "").split(",") if name.strip()]
    if not names:
        return record
    result: Record = {}
    for name in names:
        if find_field(fields, name) is None:
            raise bad_query(f"The fields name an unknown field {name!r}")
        path = tuple(name.split("/"))
        value = value_at(record, path)
        if value is None:
            continue
        target = result
        for step in path[:-1]:
            target = target.setdefault(step, {})
        target[path[-1]] = value
    return result


def _ordered(records: list[Record], fields: Mapping[str, Field], order_by: str) -> list[Record]:
    for term in reversed([term for term in order_by.split(",") if term.strip()]):
        name, _, direction = (part.strip() for part in term.strip().partition(" "))
        spec = find_field(fields, name)
        if spec is None or spec.kind in {"array", "map", "reference"}:
            raise bad_query(f"orderBy names an unknown field {name!r}")
        if direction.lower() not in {"", "asc", "desc"}:
            raise bad_query(f"orderBy knows asc and desc, not {direction!r}")
        key = partial(_sort_value, path=tuple(name.split("/")))
        records = sorted(records, key=key, reverse=direction.lower() == "desc")
    return records


def _sort_value(record: Record, path: tuple[str, ...]) -> tuple[bool, Any]:
    """Sort absent values first and text without case."""
    value = value_at(record, path)
    return value is not None, value.casefold() if isinstance(value, str) else value


def _page_size(query: Query) -> int:
    return min(_positive(query, "pageSize", DEFAULT_PAGE_SIZE), MAX_PAGE_SIZE)


def _positive(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) < min(default, 1):
        raise bad_query(f"{name} must be a positive number")
    return int(text)


def _url(url: str, query: Query, paging: dict[str, int]) -> str:
    kept = {name: value for name, value in query.items() if name not in {"page", "pageSize", "pageId"}}
    return f"{url}?{urlencode(kept | paging)}"
