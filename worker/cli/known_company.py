"""A command takes a company by its id, or by a name that only one company has: names are what the tables show."""

from collections.abc import Mapping

import typer

from store import Tx, ledger_queries
from worker.coordination import results


def company_id_of(tx: Tx, partner_id: str, wanted: str) -> str:
    """The id of the partner's company with this id or unique name, among those ever mapped and those in Sync Status.

    What nobody is called stays as it is: it may be the id of a new company. Raises typer.BadParameter for a name that
    several companies have.
    """
    mapped = ledger_queries.company_names(tx, partner_id)
    if wanted in mapped:
        return wanted
    pushed = {row.company_id: row.company_name for row in results.of_partner(tx, partner_id)}
    return id_or_name(wanted, pushed | mapped, "--company")


def id_or_name(wanted: str, names: Mapping[str, str], option: str) -> str:
    """The key of `names` that is wanted, else the only one with this name, in any case; else what was given.

    Raises typer.BadParameter for the `option` if several have the name.
    """
    if wanted in names:
        return wanted
    matching = [company_id for company_id, name in names.items() if name.casefold() == wanted.casefold()]
    if len(matching) > 1:
        several = f"several companies are called {wanted!r}; give the id: {', '.join(sorted(matching))}"
        raise typer.BadParameter(several, param_hint=option)
    return matching[0] if matching else wanted
