"""Questions for choices: ask, wait, and see what ConnectWise was asked for them."""

import re
from typing import Any

from messages import CatalogKind, CatalogListed, CatalogRequested, PhinCompany
from store import catalog
from tests.support.waiting import wait_for
from tests.support.world import World


def question(kind: CatalogKind, **fields: Any) -> CatalogRequested:
    """A catalog.requested of partner p1."""
    return CatalogRequested(partner_id="p1", correlation_id="test", kind=kind, **fields)


def suggestions_for(*names: str, **fields: Any) -> CatalogRequested:
    """A question for suggestions for companies s1, s2, … of these names."""
    asked = [PhinCompany(company_id=f"s{number}", company_name=name) for number, name in enumerate(names, 1)]
    return question("suggestions", companies=tuple(asked), **fields)


def answer_to(world: World, asked: CatalogRequested) -> CatalogListed | None:
    """The answer that is kept with the question."""
    with world.database.begin() as tx:
        found = catalog.find(tx, asked.partner_id, str(asked.id))
    return CatalogListed.model_validate_json(found.answer) if found and found.answer else None


def ask(world: World, asked: CatalogRequested) -> CatalogListed:
    """Send the question, and wait for the answer."""
    world.publish(asked)
    return answered(world, asked)


def answered(world: World, asked: CatalogRequested) -> CatalogListed:
    """Wait for the answer."""
    wait_for(lambda: answer_to(world, asked), f"the {asked.kind}", 60)
    answer = answer_to(world, asked)
    assert answer is not None
    return answer


def names(listed: CatalogListed) -> list[str]:
    """The names of the choices, in order."""
    assert listed.problem is None
    return [choice.name for choice in listed.choices]


def reads(world: World, path: str) -> int:
    """The number of requests that ConnectWise got at paths like this."""
    return sum(bool(re.search(path, record["path"])) for record in world.simulator.log)
