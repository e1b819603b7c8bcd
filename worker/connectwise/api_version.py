"""The version of the API that a partner's ConnectWise is asked for: the setting's, or an older one that it names."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

# A server that refuses so many names versions that it does not have.
MAX_TRIED = 4


@dataclass
class Discovery:
    """The address of a partner's API, and which version it is asked for (None = the setting's).

    `answered`: under this version of the connection the API has answered. `is_new`: found during this run, which
    stores it.
    """

    base_url: str | None
    looked_up_at: datetime | None
    api_version: str | None = None
    answered: bool = False
    is_new: bool = False


@dataclass
class ApiVersions:
    """The version to ask for next (`current`): the setting's (`configured`), or an older one.

    `accepted`: an older one that the server took before; None = it took the setting's, or none yet. An older version
    is asked for only once the setting's is refused: newer ones may have changed what is read.
    """

    configured: str
    accepted: str | None
    current: str = field(init=False)
    _refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        is_older = self.accepted is not None and _order(self.accepted) < _order(self.configured)
        self.current = self.accepted if self.accepted and is_older else self.configured

    def reset(self) -> None:
        """Ask for the setting's again: the server may have been upgraded."""
        self.current = self.configured
        self._refused.clear()

    def switch(self, named: Collection[str]) -> bool:
        """Take the newest of the versions that the server names in refusing the current one; False = none is left."""
        self._refused.add(self.current)
        usable = {version for version in (*named, self.configured) if _order(version) <= _order(self.configured)}
        left = usable - self._refused
        if not left or len(self._refused) >= MAX_TRIED:
            return False
        self.current = max(left, key=_order)
        return True


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
