"""Users, their roles, and what each page asks for."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Role = Literal["coordinator", "reader", "writer"]
"""A coordinator sees and changes one partner; a reader sees the console, and a writer acts there too."""

LOCAL_NAME = "local user"


class Right(Enum):
    """A right that a page asks for. A page has exactly one; there is none without."""

    PUBLIC = "public"
    SIGNED_IN = "signed in"
    COORDINATE = "coordinate"
    READ = "read"
    WRITE = "write"


_ROLES: dict[Right, frozenset[Role]] = {
    Right.COORDINATE: frozenset({"coordinator"}),
    Right.READ: frozenset({"reader", "writer"}),
    Right.WRITE: frozenset({"writer"}),
}


@dataclass(frozen=True)
class User:
    """A user with roles; `partner` is the one that a coordinator works for, None = any, of the local user only."""

    name: str
    roles: frozenset[Role]
    partner: str | None = None
    is_local: bool = False

    def may(self, right: Right) -> bool:
        """True if one of the roles gives this right."""
        return bool(self.roles & _ROLES[right]) if right in _ROLES else True


LOCAL_USER = User(LOCAL_NAME, frozenset({"coordinator", "reader", "writer"}), is_local=True)
"""Stands for everybody who reaches a loopback address, while there is no file of users."""
