"""Everybody can use the console: no barrier that axe knows, in any state, colour or width."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from pydantic import SecretStr

from store import Database
from tests.integration.test_corrections import LETTER as WRONG_LETTER
from tests.integration.test_store_dead_letters import numbered
from tests.support import axe
from tests.support.axe import Audit, auditor
from tests.support.browser import opened
from tests.support.console import console_of, fill
from tests.support.world import World
from worker.coordination.sending import Sender
from worker.web.site import Site

WIDTHS = {1280: axe.ALL, 360: axe.LIGHT}
"""The colours do not depend on the width."""
EMPTY = ("now", "queues", "letters", "letters/groups", "partners", "operations", "letters/one?id=unknown")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """axe-core, in each scheme of colours."""
    return auditor(tmp_path_factory.mktemp("node") / "axe")


@pytest.mark.parametrize("backend", ["postgresql"])
def test_no_page_has_a_barrier(local_site: Site, database: Database, browser: Browser, audit: Audit) -> None:
    """Empty, full and wrong: each page of the console passes axe, and no page is wider than a narrow screen."""
    with console_of(local_site) as address:
        for width, schemes in WIDTHS.items():
            with opened(browser, address, viewport={"width": width, "height": 900}) as page:

                def look_at(
                    name: str, width: int = width, page: Page = page, schemes: tuple[axe.Scheme, ...] = schemes
                ) -> None:
                    audit(page, f"{name} at {width}", schemes)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, name

                if width == next(iter(WIDTHS)):
                    for name in EMPTY:
                        page.goto(f"/console/{name}")
                        look_at(f"empty {name}")
                    actions = fill(database)
                full = [
                    *("now", "letters?state=all", "letters?since=wrong", "letters?text=nothing", "letters/groups"),
                    f"letters/one?id={numbered(3).id}",
                    f"letters/correct?id={WRONG_LETTER.id}",
                    *("partners", "partners?show=all", "partners/one?partner=p1", "operations"),
                    *(f"operations/one?id={name}" for name in actions.values()),
                ]
                for name in full:
                    page.goto(f"/console/{name}")
                    look_at(name)
                page.goto("/console/letters?state=all")
                page.locator("[data-choose]").first.check()
                page.locator("#chosen .bar button[value=discard]").click()
                look_at("dry run")
                page.goto(f"/console/letters/correct?id={WRONG_LETTER.id}")
                page.get_by_label("Why").fill("it was wrong")
                page.get_by_role("button", name="Check and replay").click()
                look_at("refused correction")
                page.goto("/console/letters")
                page.keyboard.press("?")
                look_at("keys")


@pytest.mark.parametrize("is_away", [False, True], ids=["queues", "RabbitMQ away"])
def test_the_queues_have_no_barrier(
    amqp_url: str,
    postgresql_url: str,
    tmp_path: Path,
    browser: Browser,
    audit: Audit,
    is_away: bool,  # noqa: FBT001 - parametrized
) -> None:
    """The same for the queues of RabbitMQ, read and unread, and for a RabbitMQ that does not answer."""
    with World(amqp_url, postgresql_url, tmp_path) as world:
        world.publish(world.connected("p1"))
        settings = world.settings
        if is_away:
            settings = settings.model_copy(update={"broker_url": SecretStr("amqp://guest:guest@127.0.0.1:1/")})
        with (
            Sender(settings, world.database) as sender,
            console_of(Site(settings, world.database, sender, None)) as url,
        ):
            for width, schemes in WIDTHS.items():
                with opened(browser, url, viewport={"width": width, "height": 900}) as page:
                    page.goto("/console/queues")
                    shown = "RabbitMQ does not tell" if is_away else "Nobody reads it"
                    page.get_by_text(shown).first.wait_for()
                    audit(page, f"queues at {width}", schemes)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
