"""Templates become HTML; whatever is put into them is escaped."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from worker.web import assets


def render(template: str, given: Mapping[str, Any]) -> str:
    """The HTML of a template. Raises jinja2's errors, which are ours to mend."""
    return _ENVIRONMENT.get_template(template).render(given)


MINUS = "\N{MINUS SIGN}"
DECIMALS = 9
"""More than a quantity has; what follows comes of adding numbers up in binary."""


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _number(value: float | None) -> str:
    """All digits of a quantity as people read them: 1,042, not 1042.0; empty = unknown."""
    if value is None:
        return ""
    exact = Decimal(str(round(value, DECIMALS)))
    return f"{exact:,.0f}" if exact == exact.to_integral_value() else f"{exact:,f}"


def _signed(value: float | None) -> str:
    if value is None:
        return ""
    exact = round(value, DECIMALS)
    return f"{MINUS if exact < 0 else '+' if exact > 0 else '±'}{_number(abs(exact))}"


def _money(value: float | None) -> str:
    return "" if value is None else f"{MINUS if value < 0 else ''}{abs(value):,.2f}"


def _signed_money(value: float | None) -> str:
    return "" if value is None else f"{'+' if value > 0 else ''}{_money(value)}"


def _anchor(text: str) -> str:
    """A name for an element, whatever characters the id of a company has."""
    return sha256(text.encode()).hexdigest()[:16]


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _second(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _age(since: datetime | None, at: datetime) -> str:
    """The time from `since` to `at` in the unit that fits; empty = nothing waits."""
    if since is None:
        return ""
    seconds = max(0.0, (at - since).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("worker.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "minute": _minute,
        "number": _number,
        "signed": _signed,
        "money": _money,
        "signed_money": _signed_money,
        "anchor": _anchor,
    }
    made.globals |= {"asset": assets.address, "plural": _plural}
    made.filters["second"] = _second
    made.globals["age"] = _age
    return made


_ENVIRONMENT = _environment()
