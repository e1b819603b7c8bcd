"""The errors of publishing: which messages failed, and the reason of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from messages.envelope import Message


class PublishError(Exception):
    """Some messages were not confirmed: `unconfirmed`, in order; `confirmed` are with the broker.

    Publishing an unconfirmed message again is safe: it keeps its id.
    """

    def __init__(self, reason: str, *, confirmed: Sequence[Message], unconfirmed: Sequence[Message]) -> None:
        super().__init__(reason)
        self.confirmed = tuple(confirmed)
        self.unconfirmed = tuple(unconfirmed)

    @property
    def message(self) -> Message:
        """The first message that was not confirmed."""
        return self.unconfirmed[0]


class Unroutable(PublishError):
    """No queue takes the message, or there is no such exchange: is the worker deployed? The message is lost."""


class Refused(PublishError):
    """The broker said no: a queue is full, the message is too large, or the user may not write to the exchange."""


class Unreachable(PublishError):
    """No connection, or no answer in time, so the outcome is unknown: publish the same message again later."""


@dataclass(frozen=True)
class Failure:
    """The reason that a message was not confirmed; `disconnected`: the connection went, another may do."""

    error: type[PublishError]
    reason: str
    disconnected: bool = False
