"""All that the pages use: settings, store, a way to send events, users, templates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

from messages import Message
from store import Database, now
from worker.coordination.sending import Sender
from worker.settings import Settings
from worker.web.partner_locks import PartnerLocks
from worker.web.throttle import Throttle
from worker.web.users import Users


@dataclass(frozen=True)
class Site:
    """The pages of one installation. `users` None = everybody is the local user; `origin` is what browsers name it."""

    settings: Settings
    database: Database
    sender: Sender
    users: Users | None
    origin: str | None = None
    throttle: Throttle = field(default_factory=Throttle)
    closing: Event = field(default_factory=Event)
    choosing: PartnerLocks = field(default_factory=PartnerLocks)
    """Held from reading a mapping until it is sent with a change, as it is sent whole."""
    begun: Event = field(default_factory=Event)
    """Set when an operator's action was begun that somebody has to carry out."""

    @property
    def is_secure(self) -> bool:
        """True if browsers reach the pages by TLS."""
        return self.origin is not None and self.origin.startswith("https://")

    def now(self) -> datetime:
        """The time by the database's clock, which orders the requests of all pages, commands and platforms."""
        with self.database.begin() as tx:
            return now(tx)

    def send(self, messages: Sequence[Message]) -> None:
        """Publish events. Raises PublishError, UnroutableMessage, BrokerUnavailable or StoreError."""
        self.sender.send(messages)
