"""Times in the addresses and forms of pages."""

from datetime import UTC, datetime


def time_of(text: str) -> datetime | None:
    """The time that an address or a form of ours carries, in UTC; None = none, or not ours."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
