"""Handlers work with a Context, and raise MessageRejected."""

from dataclasses import dataclass

from store import Database


@dataclass(frozen=True)
class Context:
    """The objects that handlers work with."""

    database: Database


class MessageRejected(Exception):
    """The message can be read but not be accepted: it becomes a dead letter of this reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
