"""An operator in a real browser: ConnectWise was away, lines were given up, and all is replayed once it is back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushRequested
from store import operation_queries
from tests.support.browser import opened
from tests.support.letters import Letters
from tests.support.served import served
from tests.support.waiting import wait_for, within
from tests.support.world import World

AWAY = faults.Status(status=503, match=Match(path=r"/additions/10000\d$"))
COMPANIES = 8
SHIFTS = """
    window.shifts = 0;
    new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shifts += one.value; })
        .observe({type: "layout-shift", buffered: true});
"""

expect.set_options(timeout=within(20_000))


@pytest.fixture
def world(stack: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    """RabbitMQ with PostgreSQL, or embedded; lines are given up after a second."""
    with World(*stack, tmp_path, companies=COMPANIES, retry_for=1.0) as world:
        yield world


@pytest.fixture
def failed(world: World) -> list[PushRequested]:
    """A push for each company, all given up, as ConnectWise does not answer; it is away still."""
    connection = world.connected("p1")
    mappings = [world.mapped("p1", number) for number in range(1, COMPANIES + 1)]
    world.start_worker()
    world.publish(connection, *mappings)
    world.simulator.faults.set([AWAY])
    pushes = [
        world.push("p1", {number: 10 * number}, connection=connection, mappings=mappings)
        for number in range(1, COMPANIES + 1)
    ]
    world.publish(*pushes)
    wait_for(lambda: all(world.state_of(push) == "completed" for push in pushes), "the failed pushes")
    if world.platform is None:
        # Without a broker the pages do the work themselves.
        world.end_workers()
    return pushes


@pytest.fixture
def page(world: World, failed: list[PushRequested], browser: Browser) -> Iterator[Page]:
    """A window on the pages of this installation."""
    with served(world.folder, world.given) as address, opened(browser, address) as page:
        page.add_init_script(SHIFTS)
        yield page


def _figure(page: Page, of: str) -> str:
    figure = page.locator(".figures li", has=page.locator(".what", has_text=re.compile(f"^{of}$"))).locator(".figure")
    return figure.inner_text()


def _replay_all(page: Page) -> None:
    """Open the groups, look at the dry run of the one that is there, and begin it."""
    page.goto("/console/letters/groups")
    page.get_by_role("button", name="Replay the group exhausted").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Replay . dead letters?\\?$"))
    expect(page.get_by_text("Overtaken by newer pushes: 0 lines")).to_be_visible()
    page.get_by_label("Why").fill("ConnectWise is back")
    page.get_by_role("button", name=re.compile(r"^Replay \d$")).click()


def test_a_failing_replay_stops_and_a_later_one_ends_all(world: World, failed: list[PushRequested], page: Page) -> None:
    """ConnectWise is away still: one letter comes back, seven are not sent. Then it is back, and all eight are done."""
    _replay_all(page)
    expect(page.locator(".said", has_text="Stopped:")).to_contain_text("1 of 1 failed again, so no more are sent")
    assert [_figure(page, what) for what in ("done", "came back", "left")] == ["0", "1", str(COMPANIES - 1)]
    assert page.evaluate("shifts") == 0
    page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()
    expect(page.get_by_text("Came back once")).to_be_visible()

    world.simulator.faults.clear()
    _replay_all(page)
    expect(page.locator(".tag", has_text="Done")).to_be_visible()
    assert [_figure(page, what) for what in ("done", "came back", "refused", "left")] == [str(COMPANIES), "0", "0", "0"]
    numbers = range(1, COMPANIES + 1)
    assert {number: world.quantity("p1", 100_000 + number) for number in numbers} == {n: 10 * n for n in numbers}
    assert len(world.writes()) == COMPANIES
    page.goto("/console/operations")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text(f"done {COMPANIES}, refused 0, came back 0, overtaken 0 lines")
    expect(rows.nth(1)).to_contain_text("ConnectWise is back")
    (seen,) = json.loads(world.command("actions", "--limit", "1", "--json").stdout)["actions"]
    assert (seen["kind"], seen["done"], seen["why"], seen["origin"]) == (
        "replay",
        COMPANIES,
        "ConnectWise is back",
        "page",
    )
    assert {letter.state for letter in Letters(world).all()} == {"replayed"}


@pytest.mark.parametrize("stack", ["rabbitmq"], indirect=True)
def test_a_replay_survives_the_end_of_its_pages(world: World, failed: list[PushRequested], browser: Browser) -> None:
    """The process of the pages ends while a replay runs; the next one goes on with it, and nothing is sent twice."""
    world.simulator.faults.set([faults.Latency(seconds=0.5)])
    with served(world.folder, world.given) as address, opened(browser, address) as page:
        _replay_all(page)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        where = page.url.removeprefix(address)
    with world.database.begin() as tx:
        (running,) = operation_queries.running(tx)
    assert running.left > 0
    with served(world.folder, world.given) as address, opened(browser, address) as page:
        page.goto(where)
        expect(page.locator(".tag", has_text="Done")).to_be_visible()
    assert len(world.writes()) == COMPANIES
    assert {letter.replays for letter in Letters(world).all()} == {1}


@pytest.mark.parametrize("stack", ["rabbitmq"], indirect=True)
def test_it_is_done_by_keyboard_alone(world: World, failed: list[PushRequested], page: Page) -> None:
    """Search, choose two rows, open the dry run, begin: no mouse is needed, and no key acts while one types."""
    world.simulator.faults.clear()
    page.goto("/console/letters")
    page.keyboard.press("/")
    page.keyboard.type("jkx?")
    expect(page.get_by_label("Text in the error")).to_have_value("jkx?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There are no such dead letters")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(page.locator("[data-row]")).to_have_count(COMPANIES)
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-chosen-count]")).to_have_text("2 chosen on this page:")
    _tab_to(page, "Replay…", within_the="#chosen .bar")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Replay 2 dead letters?")
    _tab_to(page, "Replay 2")
    page.keyboard.press("Enter")
    expect(page.locator(".tag", has_text="Done")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def _tab_to(page: Page, text: str, within_the: str = "main") -> None:
    """Press Tab until the control with this text has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(
            "([text, area]) => document.activeElement.innerText === text && !!document.activeElement.closest(area)",
            [text, within_the],
        ):
            return
    pytest.fail(f"Tab does not lead to {text}")


@pytest.mark.parametrize("stack", ["rabbitmq"], indirect=True)
def test_without_scripts_it_works_by_forms(world: World, failed: list[PushRequested], browser: Browser) -> None:
    """With JavaScript off an operator replays one letter by one button of its row, and reads the outcome."""
    world.simulator.faults.clear()
    with (
        served(world.folder, world.given) as address,
        opened(browser, address, java_script_enabled=False) as page,
    ):
        page.goto("/console/letters")
        page.locator("tbody tr").first.get_by_role("button", name=re.compile("^Replay ")).click()
        # The page loads itself anew until it is over.
        expect(page.locator(".tag", has_text="Done")).to_be_visible(timeout=within(30_000))
        expect(page.get_by_text("1 of 1 letter decided.")).to_be_visible()
