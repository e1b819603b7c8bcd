"""The `conditions` query language (connectwise-api.md 4.3), compiled to a predicate over records.

As documented: `=` `!=` `<` `<=` `>` `>=` `contains` `like` `in (..)` `not`, joined by `and` / `or` with brackets, over
fields that a GET returns; strings in quotes, dates in square brackets, null with `=` and `!=`. Assumptions of ours:
text is compared without case, an absent value satisfies only `= null`, a quote inside a string cannot be written.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cwclient.simulator.errors import ApiError, bad_query
from cwclient.simulator.schema import Field, Record, find_field, parse_timestamp, value_at

Predicate = Callable[[Record], bool]
Test = Callable[[object], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"[^"]*"|'[^']*')
      | \[(?P<date>[^\]]*)\]
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<operator><=|>=|!=|=|<|>)
      | (?P<mark>[(),])
      | (?P<word>[A-Za-z_][A-Za-z0-9_/]*)
    )""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# The kind of literal that a kind of field is compared with.
_LITERALS = {
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "date-time": "date",
    "string": "string",
    "enum": "string",
}
_MAX_DEPTH = 50


class _Token(NamedTuple):
    kind: str
    text: str


def compile_conditions(text: str, fields: Mapping[str, Field]) -> Predicate:
    """Compile conditions over records with these fields.

    Raises ApiError (400) if they cannot be read, name an unknown field, or compare it with another type.
    """
    parser = _Parser(text, fields)
    predicate = parser.disjunction(0)
    if parser.peek() is not None:
        raise parser.error()
    return predicate


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise bad_query(f"The conditions cannot be read at {text[position : position + 20]!r}")
        tokens.append(_Token(match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return tokens


def _contains(part: str) -> Test:
    folded = part.casefold()
    return lambda value: isinstance(value, str) and folded in value.casefold()


def _like(pattern: str) -> Test:
    """Match a whole text with `*` and `%` as wildcards and `[[]` as a literal bracket."""
    parts = (
        ".*" if part in {"*", "%"} else re.escape("[" if part == "[[]" else part)
        for part in re.split(r"(\*|%|\[\[\])", pattern)
    )
    compiled = re.compile("".join(parts), re.DOTALL | re.IGNORECASE)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


class _Parser:
    """A recursive-descent parser; each method takes its phrase off the tokens and returns its predicate."""

    def __init__(self, text: str, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._tokens = _tokens(text)
        self._next = 0

    def peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def error(self, reason: str = "") -> ApiError:
        token = self.peek()
        at = f"at {token.text!r}" if token else "at their end"
        return bad_query(f"The conditions are not valid {at}" + (f": {reason}" if reason else ""))

    def disjunction(self, depth: int) -> Predicate:
        parts = [self._conjunction(depth)]
        while self._taken("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else lambda record: any(part(record) for part in parts)

    def _conjunction(self, depth: int) -> Predicate:
        parts = [self._factor(depth)]
        while self._taken("and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else lambda record: all(part(record) for part in parts)

    def _factor(self, depth: int) -> Predicate:
        if depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        if self._taken("not"):
            inner = self._factor(depth + 1)
            return lambda record: not inner(record)
        if self._taken("("):
            inner = self.disjunction(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        name = self._take("word").text
        path = ("_info", "lastUpdated") if name == "lastUpdated" else tuple(name.split("/"))
        spec = find_field(self._fields, "/".join(path))
        if spec is None:
            raise bad_query(f"The conditions name an unknown field {name!r}")
        negated = self._taken("not")
        test = self._test(spec)
        if negated:
            return lambda record: not test(value_at(record, path))
        return lambda record: test(value_at(record, path))

    def _test(self, spec: Field) -> Test:
        if self._taken("in"):
            return self._membership(spec)
        for word, matching in (("contains", _contains), ("like", _like)):
            if self._taken(word):
                if _LITERALS.get(spec.kind) != "string":
                    raise self.error(f"{word} needs a text field")
                return matching(self._take("string").text[1:-1])
        compare = self._take("operator").text
        if self._taken("null"):
            if compare not in {"=", "!="}:
                raise self.error("null can only be equal or not")
            return (lambda value: value is None) if compare == "=" else (lambda value: value is not None)
        literal, test = self._literal(spec), _COMPARISONS[compare]
        return lambda value: value is not None and bool(test(_folded(value), literal))

    def _membership(self, spec: Field) -> Test:
        self._expect("(")
        values = {self._literal(spec)}
        while self._taken(","):
            values.add(self._literal(spec))
        self._expect(")")
        return lambda value: _folded(value) in values

    def _literal(self, spec: Field) -> object:
        token = self.peek()
        wanted = _LITERALS.get(spec.kind)
        if token is None or wanted is None:
            raise self.error("a value is missing" if wanted else "name a field of this reference, such as company/id")
        if wanted == "boolean" and token.kind == "word" and token.text.lower() in {"true", "false"}:
            self._next += 1
            return token.text.lower() == "true"
        if token.kind != wanted:
            raise self.error(f"a {wanted} is needed")
        self._next += 1
        match wanted:
            case "number":
                return float(token.text)
            case "date":
                return self._date(token.text)
        return token.text[1:-1].casefold()

    def _date(self, text: str) -> str:
        try:
            return parse_timestamp(text.strip()).casefold()
        except ValueError as error:
            raise bad_query(f"The conditions hold a bad date: {error}") from error

    def _taken(self, text: str) -> bool:
        token = self.peek()
        found = token is not None and token.kind in {"word", "mark"} and token.text.lower() == text
        self._next += found
        return found

    def _expect(self, text: str) -> None:
        if not self._taken(text):
            raise self.error(f"{text} is needed")

    def _take(self, kind: str) -> _Token:
        token = self.peek()
        if token is None or token.kind != kind:
            raise self.error(f"a {kind} is needed")
        self._next += 1
        return token


def _folded(value: object) -> object:
    return value.casefold() if isinstance(value, str) else value
