"""Everybody can use the console: no barrier that axe knows, in any state, colour or width."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import uvicorn
from playwright.sync_api import Browser, Page
from sqlalchemy import insert, update

from store import Database, operations, pauses, replays, schema, workers
from store.database import db_now
from store.dead_letter_queries import DeadLetterFilter
from store.replays import Replay
from tests.integration.test_corrections import LETTER as WRONG_LETTER
from tests.integration.test_store_dead_letters import add, numbered
from tests.support.axe import Audit, auditor
from tests.support.browser import opened
from tests.support.waiting import wait_for
from worker.operations import conduct
from worker.web.application import application
from worker.web.site import Site

WIDTHS = (360, 1280)
EMPTY = ("now", "queues", "letters", "letters/groups", "partners", "operations", "letters/one?id=unknown")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """axe-core, in each scheme of colours."""
    return auditor(tmp_path_factory.mktemp("node") / "axe")


@contextmanager
def _served(site: Site) -> Iterator[str]:
    """The pages in a thread of this process: nothing carries out what is begun, so states stay as they are."""
    server = uvicorn.Server(uvicorn.Config(application(site), port=0, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, "the pages")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        site.closing.set()
        server.should_exit = True
        thread.join()


def _fill(database: Database) -> dict[str, str]:
    """Letters, actions and partners in every state; the ids of actions by their state."""
    errors = [("exhausted", None), ("unexpected", "KeyError"), ("contract", "not_json")]
    letters = [
        numbered(number, partner_id=f"p{number % 3}", reason=reason, error_type=kind, kind="push.requested.v1")
        for number in range(1, 61)
        for reason, kind in [errors[number % 3]]
    ]
    add(database, *letters, replace(WRONG_LETTER, error=WRONG_LETTER.error * 5))
    check = json.dumps({"status": "failed", "problem": {"code": "bad_keys", "title": "ConnectWise refuses the keys"}})
    with database.begin() as tx:
        for number in range(4):
            row = {"partner_id": f"p{number}", "changed_at": db_now(), "message_id": "m", "disconnected": False}
            tx.execute(insert(schema.connections).values({**row, "tenant": "t", "check_json": check}))
            health = {"paused_until": db_now(600), "paused_why": "client_id", "failed_runs": 1}
            tx.execute(insert(schema.leases).values(partner_id=f"p{number}", **health))
        pauses.pause(tx, "p1", "walt", "They asked for it")
        pauses.pause(tx, pauses.EVERYBODY, "walt", "ConnectWise has an incident")
        for number, trouble in enumerate((None, "the database is away")):
            workers.heartbeat(tx, str(number), "host", number, trouble, 100.0 * number)
        operations.note(tx, "pause", by="walt", why="They asked for it", origin="page", partner_id="p1")
        discarded = conduct.begin(
            tx, "discard", DeadLetterFilter(reason="unexpected"), by="walt", why="fixed", origin="page", token="a"
        )
    conduct.carry_out(database, discarded, "a")
    with database.begin() as tx:
        stopped = conduct.begin(
            tx,
            "replay",
            DeadLetterFilter(reason="exhausted"),
            by="walt",
            why=None,
            origin="page",
            token="b",
            batch_seconds=0.1,
        )
    conduct.carry_out(database, stopped, "b")
    with database.begin() as tx:
        replays.came_back(tx, Replay(numbered(3).id, 1), numbered(3).body, "exhausted", "away still")
        running = conduct.begin(
            tx, "replay", DeadLetterFilter(reason="contract"), by="walt", why="mended", origin="page", token="c"
        )
        lost = conduct.begin(
            tx, "replay", DeadLetterFilter(reason="exhausted"), by="walt", why="mended", origin="command", token="d"
        )
        tx.execute(update(schema.operations).where(schema.operations.c.id == lost.id).values(claim_until=db_now(-1)))
    return {"discarded": discarded.id, "stopped": stopped.id, "running": running.id, "interrupted": lost.id}


@pytest.mark.parametrize("backend", ["postgresql"])
def test_no_page_has_a_barrier(local_site: Site, database: Database, browser: Browser, audit: Audit) -> None:
    """Empty, full and wrong: each page of the console passes axe, and no page is wider than a narrow screen."""
    with _served(local_site) as address:
        for width in WIDTHS:
            with opened(browser, address, viewport={"width": width, "height": 900}) as page:

                def look_at(name: str, width: int = width, page: Page = page) -> None:
                    audit(page, f"{name} at {width}")
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, name

                if width == WIDTHS[0]:
                    for name in EMPTY:
                        page.goto(f"/console/{name}")
                        look_at(f"empty {name}")
                    actions = _fill(database)
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
