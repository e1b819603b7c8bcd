"""A partner that nobody knows is a slip: the command says so, and names those that there are."""

import typer
from rapidfuzz import process

from store import Tx, partners
from worker.cli.display.causes import NAMED, listed
from worker.cli.display.output import complain
from worker.cli.exits import USAGE


def require_known_partner(tx: Tx, partner: str) -> None:
    """End the program (exit code 2) unless this partner ever connected, mapped or pushed."""
    there = partners.known(tx)
    if partner in there:
        return
    complain(f"No partner {partner} is known.")
    # Of hundreds those that are spelt most alike.
    alike = [name for name, _, _ in process.extract(partner, there, limit=NAMED)] if len(there) > NAMED else []
    shown = listed([*alike, *(one for one in there if one not in set(alike))])
    complain(f"Known: {shown}." if there else "None is yet: `phin-connectwise connection set` makes the first.")
    raise typer.Exit(USAGE)
