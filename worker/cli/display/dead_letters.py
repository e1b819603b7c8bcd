"""Dead letters as text and as JSON. A body that may hold a private key is masked, and exported sealed."""

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from messages import KeyRing
from store import amqp_properties as amqp
from store.dead_letter_queries import DeadLetterGroup, DeadLetterSummary, StoredDeadLetter
from worker.cli.display import causes
from worker.cli.display.causes import Cause
from worker.cli.display.output import plural, safe, say, table
from worker.operations.letter_bodies import body_lines, text_of

SHORT = 8
"""The characters of an id that tables show: enough to identify a letter."""

BODY_LINES = 80


def show_list(letters: list[DeadLetterSummary], count: int) -> None:
    """Print letters as a table, and how many more there are."""
    headers = ("ID", "Failed (UTC)", "Partner", "Kind", "Reason")
    table(headers, [_cells(letter) for letter in letters])
    say()
    errors = [Cause("bad", letter.id[:SHORT], letter.reason, _shortened(letter.error)) for letter in letters]
    causes.show(errors, "dead letters")
    if count > len(letters):
        say(f"and {count - len(letters):,} more; see them with --limit, or `dead-letters groups`")


def show_groups(groups: list[DeadLetterGroup]) -> None:
    """Print each group in three lines: the cause, the times, and an example of its error."""
    for group in groups:
        where = f" at {group.error_at}" if group.error_at else ""
        what = f"{group.error_type}{where}" if group.error_type else ""
        partners = plural(group.partners, "partner") if group.partners else "no partner"
        facts = [f"{group.count:,} {group.reason}", what, group.kind or "several kinds", partners]
        say(f"{group.fingerprint}  {' · '.join(fact for fact in facts if fact)}")
        say(f"  first {_time(group.since)}, last {_time(group.last)}")
        say(f"  {_shortened(group.example)}")


def show(letter: StoredDeadLetter, keys: KeyRing) -> None:
    """Print a letter in full."""
    facts = {
        "ID": letter.id,
        "State": _state(letter),
        "Reason": letter.reason,
        "Error": letter.error,
        "Error type": letter.error_type,
        "At": letter.error_at,
        "Group": letter.fingerprint,
        "Attempts": letter.attempts,
        "First failed": _time(letter.first_failed_at),
        "Last failed": _time(letter.last_failed_at),
        "Partner": letter.partner_id,
        "Kind": letter.kind,
        "Queue" if letter.exchange is None else "Routing key": letter.queue,
        "Exchange": letter.exchange,
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            say(f"{name + ':':14}{value}")
    for name, value in letter.properties.items():
        if name != "headers":
            say(f"{name + ':':18}{value}")
    for name, value in (letter.properties.get("headers") or {}).items():
        say(f"header {name}: {value}")
    for entry in letter.history:
        say(_history_line(entry))
    say()
    for line in _body_lines(letter, keys):
        say(line)


def as_json(letter: DeadLetterSummary) -> dict[str, Any]:
    """A letter as JSON, without its body."""
    fields = {name: getattr(letter, name) for name in DeadLetterSummary.__dataclass_fields__}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def group_as_json(group: DeadLetterGroup) -> dict[str, Any]:
    """A group as JSON."""
    fields = asdict(group)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def in_full_as_json(letter: StoredDeadLetter, keys: KeyRing | None = None) -> dict[str, Any]:
    """A letter in full as JSON; times, bytes and decimals in headers are tagged.

    With `keys` a sealed body is opened and masked. Without, `body_base64` is the box that the key `sealed_with` opens.
    """
    document = as_json(letter) | {
        "history": letter.history,
        "properties": json.loads(amqp.dumps(letter.properties)),
        "sealed_with": letter.sealed_with,
    }
    if letter.sealed_with is not None and keys is not None:
        return document | {"masked": "\n".join(_body_lines(letter, keys))}
    text = None if letter.sealed_with is not None else text_of(letter.body)
    return document | ({"body_base64": base64.b64encode(letter.body).decode()} if text is None else {"body": text})


def _cells(letter: DeadLetterSummary) -> list[Text]:
    came_back = f" (came back {_times(letter.returns)})" if letter.returns else ""
    return [
        safe(letter.id[:SHORT]),
        safe(f"{letter.last_failed_at.astimezone(UTC):%m-%d %H:%M}"),
        safe(letter.partner_id or ""),
        safe(letter.kind or ""),
        safe(f"{letter.reason}{came_back}"),
    ]


def _state(letter: DeadLetterSummary) -> str:
    replayed = f", replayed {_times(letter.replays)}" if letter.replays else ""
    handled = ", handled" if letter.state == "replayed" and letter.applied == letter.replays else ""
    came_back = f", came back {_times(letter.returns)}" if letter.returns else ""
    return f"{letter.state}{handled}{replayed}{came_back}"


def _history_line(entry: dict[str, Any]) -> str:
    at = _time(datetime.fromisoformat(entry["at"]))
    by = f" by {entry['by']}" if entry.get("by") else ""
    why = f": {entry['why']}" if entry.get("why") else ""
    was = f" (it was {entry['reason']}: {_shortened(entry['error'])})" if "reason" in entry else ""
    return f"{at}  {entry['what']}{by}{why}{was}"


def _body_lines(letter: StoredDeadLetter, keys: KeyRing) -> list[str]:
    lines = [_shortened(line, 500) for line in body_lines(letter, keys)]
    more = len(lines) - BODY_LINES
    return [*lines[:BODY_LINES], *([f"… {more:,} more lines; `dead-letters export` has all"] if more > 0 else [])]


def _shortened(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
