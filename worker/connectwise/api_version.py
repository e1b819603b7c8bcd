"""The version of the API that a partner's ConnectWise is asked for: the setting's, or an older one that it names."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

MAX_TRIED = 4
"""A server that refuses so many names versions that it does not have."""


@dataclass
class Discovery:
    """Where a partner's API is, and how it is spoken to. `is_new` = found during this run, so that the run stores it.

    `api_version`: see ApiVersions.taken. `answered`: under this version of the connection the API has answered.
    """

    base_url: str | None
    looked_up_at: datetime | None
    api_version: str | None = None
    answered: bool = False
    is_new: bool = False


@dataclass
class ApiVersions:
    """`wanted` is the setting's; `taken` an older one that was taken before, None = the setting's was, or none yet.

    An older one is asked for only once the setting's is refused: newer ones may have changed what is read.
    """

    wanted: str
    taken: str | None
    asked: str = field(init=False)
    _refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.asked = self.taken if self.taken and _order(self.taken) < _order(self.wanted) else self.wanted

    def begin_anew(self) -> None:
        """Ask for the setting's again: the server may have been upgraded."""
        self.asked = self.wanted
        self._refused.clear()

    def refused(self, named: Collection[str]) -> bool:
        """The server refuses the version asked for and names these; whether there is another to ask for."""
        self._refused.add(self.asked)
        left = {one for one in (*named, self.wanted) if _order(one) <= _order(self.wanted)} - self._refused
        if not left or len(self._refused) >= MAX_TRIED:
            return False
        self.asked = max(left, key=_order)
        return True


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
