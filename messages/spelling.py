"""Names of fields that are declared, but written with other letters or signs: quantityWanted for quantity_wanted."""

from collections.abc import Collection, Iterator
from functools import cache

from messages.envelope import Part


def misspelt(names: Collection[str]) -> list[str]:
    """Return the remedy for each name that only capitals or signs tell from a declared field; others are unknown."""
    declared = _declared()
    known = set(declared.values())
    wrong = sorted(name for name in names if name not in known and _letters(name) in declared)
    return [f"write {declared[_letters(name)]}, not {name[:80]!a}" for name in wrong]


@cache
def _declared() -> dict[str, str]:
    """The fields of all messages and their parts, by their letters."""
    return {_letters(name): name for name in sorted(_fields(Part))}


def _fields(of: type[Part]) -> Iterator[str]:
    yield from of.model_fields
    for part in of.__subclasses__():
        yield from _fields(part)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
