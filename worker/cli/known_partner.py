"""A command refuses an unknown partner, which is likely a typing error, and names the known ones."""

from difflib import get_close_matches

import typer

from store import Tx, partners
from worker.cli.display.causes import NAMED, listed
from worker.cli.display.output import complain
from worker.cli.exits import USAGE


def require_known_partner(tx: Tx, partner: str) -> None:
    """End the program (exit code 2) unless this partner ever connected, mapped or pushed."""
    known = partners.known(tx)
    if partner in known:
        return
    complain(f"No partner {partner} is known.")
    # If there are too many to name, those with the most similar spelling come first.
    alike = get_close_matches(partner, known, NAMED, cutoff=0.3) if len(known) > NAMED else []
    names = listed([*alike, *(name for name in known if name not in set(alike))])
    complain(f"Known: {names}." if known else "None is yet: `phin-connectwise connection set` makes the first.")
    raise typer.Exit(USAGE)
