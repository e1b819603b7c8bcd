"""The filter of dead letters in an address: read from it, and written into links and forms."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from store.dead_letter_queries import DeadLetterFilter
from worker.web.times import time_of
from worker.web.visit import Refusal

STATES = ("open", "replayed", "discarded", "all")
FIELDS = ("state", "partner", "kind", "reason", "since", "until", "text", "group", "operation")
LONGEST = 200
_AGO = re.compile(r"(\d{1,6})\s*([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

State = Literal["open", "replayed", "discarded", "all"]


@dataclass(frozen=True)
class Chosen:
    """A filter as a visitor wrote it; `problems` by field, for the fields that cannot be read."""

    values: dict[str, str]
    letters: DeadLetterFilter
    problems: dict[str, str]

    @property
    def state(self) -> str:
        """The state, or `all`."""
        return self.values["state"]

    def query(self, **changes: str) -> str:
        """The query of an address with this filter, changed."""
        given = self.values | changes
        return urlencode({name: value for name, value in given.items() if value and (name, value) != ("state", "open")})

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Names and values for the hidden fields of a form."""
        return [(name, value) for name, value in self.values.items() if value]

    @property
    def is_narrowed(self) -> bool:
        """True if anything but the state restricts it."""
        return any(value for name, value in self.values.items() if name != "state")

    def fixed_at(self, at: datetime) -> "Chosen":
        """The filter with times instead of "so long ago", so that it matches the same letters later."""
        since, until = (_fixed(one, at) for one in (self.letters.since, self.letters.until))
        texts = {"since": since.isoformat() if since else "", "until": until.isoformat() if until else ""}
        return replace(self, values=self.values | texts, letters=replace(self.letters, since=since, until=until))


def read(value_of: Callable[[str], str]) -> Chosen:
    """Read the filter of an address, or of a form."""
    values = {name: value_of(name).strip()[:LONGEST] for name in FIELDS}
    values["state"] = values["state"] if values["state"] in STATES else "open"
    problems: dict[str, str] = {}
    times: dict[str, datetime | timedelta | None] = {}
    for name in ("since", "until"):
        try:
            times[name] = _time(values[name])
        except (ValueError, OverflowError):
            times[name] = None
            problems[name] = "Write 2026-11-22T10:00 (UTC), or 30m, 2h, 3d for so long ago"
    letters = DeadLetterFilter(
        partner_id=values["partner"] or None,
        kind=values["kind"] or None,
        reason=values["reason"] or None,
        fingerprint=values["group"] or None,
        since=times["since"],
        until=times["until"],
        state=None if values["state"] == "all" else values["state"],
        text=values["text"].replace("\0", "") or None,
        operation=values["operation"] or None,
    )
    return Chosen(values, letters, problems)


def readable(chosen: Chosen) -> Chosen:
    """The filter, for an action. Raises Refusal if a part of it cannot be read: more would match than was meant."""
    for name, problem in chosen.problems.items():
        raise Refusal(400, f"The filter {name} cannot be read", problem)
    return chosen


def of_ids(letter_ids: Sequence[str]) -> DeadLetterFilter:
    """A selection of letters, in whatever state they are."""
    return DeadLetterFilter(ids=tuple(letter_ids))


def key_of(text: str) -> tuple[datetime, str] | None:
    """The key of the last row of a page, as `key_text` wrote it; None = none, or not ours."""
    written, _, name = text.partition("~")
    at = time_of(written)
    return (at, name) if at is not None and name else None


def key_text(at: datetime, name: str) -> str:
    """The key of a row, for the address of the next page."""
    return f"{at.astimezone(UTC).isoformat()}~{name}"


def _fixed(given: datetime | timedelta | None, at: datetime) -> datetime | None:
    return at - given if isinstance(given, timedelta) else given


def _time(text: str) -> datetime | timedelta | None:
    if not text:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return min(int(ago[1]) * _UNITS[ago[2]], timedelta(days=36500))
    given = datetime.fromisoformat(text)
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
