"""A real browser without a window: Debian's Chromium, led by Playwright. Without it tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.waiting import within

MISSING = "Chromium is missing: apt-get install chromium-headless-shell"
PROGRAMS = ("chromium-headless-shell", "chromium")
"""The first that is there: without windows to draw it takes a fifth less time."""
OPTIONS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        _skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, base_url: str, **more: Any) -> Iterator[Page]:
    """Open a window of its own. What the page says is wrong, and what its policy forbids, fails the test at the end."""
    context = browser.new_context(base_url=base_url, **more)
    context.set_default_timeout(within(15_000))
    page = context.new_page()
    wrong: list[str] = []

    def said(message: ConsoleMessage) -> None:
        # The browser itself says so of each answer that is an error, which a test may well ask for.
        is_asked_for = any(text in message.text for text in ("Failed to load resource", "Failed to fetch"))
        if message.type in {"error", "warning"} and not is_asked_for:
            wrong.append(f"{message.text} ({message.location})")

    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def _skip(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
