"""The links at the head of every page, by area."""

from dataclasses import dataclass
from typing import Literal

from worker.web.rights import Right

Area = Literal["portal", "console"]


@dataclass(frozen=True)
class Link:
    """A link that users with this right see.

    `also`: beginnings of the paths of other pages that belong to it;
    `heading` and `summary`: how the local user's first page offers the area of which this link is the entrance.
    """

    area: Area
    path: str
    label: str
    right: Right
    also: tuple[str, ...] = ()
    heading: str = ""
    summary: str = ""

    def leads_to(self, path: str) -> bool:
        """True if the page of this path belongs to the link."""
        return path.startswith((self.path, *self.also))

    @property
    def first(self) -> bool:
        """True if the first page offers it."""
        return bool(self.heading)


CONSOLE = (
    Link(
        "console",
        "/console/now",
        "Now",
        Right.READ,
        heading="Operators' console",
        summary="What runs, who waits, dead letters, and what operators did.",
    ),
    Link("console", "/console/letters", "Dead letters", Right.READ),
    Link("console", "/console/partners", "Partners", Right.READ),
    Link("console", "/console/operations", "Actions", Right.READ),
)
LINKS: tuple[Link, ...] = (
    Link("portal", "/portal/connect", "Connect", Right.COORDINATE),
    Link("portal", "/portal/companies", "Companies", Right.COORDINATE, also=("/portal/company",)),
    Link(
        "portal",
        "/portal/history",
        "History",
        Right.COORDINATE,
        also=("/portal/push", "/portal/ledger", "/portal/proof"),
    ),
    *CONSOLE,
)


def area_of(path: str) -> Area | None:
    """The area of a page; None = of none, such as the first page."""
    first = path.split("/")[1]
    return "portal" if first == "portal" else "console" if first == "console" else None
