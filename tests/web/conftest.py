"""Pages on a store of the test's own, with and without users."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from messages import generate_keypair
from store import Database
from tests.support.browser import chromium
from tests.support.portal import Portal, portal
from tests.support.visitors import users_file
from tests.support.world import World
from worker.coordination.sending import Sender
from worker.settings import Settings, load
from worker.web.site import Site
from worker.web.users import Users


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings without a broker."""
    return load({"database_url": database_url, "seal_keys": generate_keypair().private, "broker_url": "local:"})


@pytest.fixture
def local_site(settings: Settings, database: Database) -> Iterator[Site]:
    """Pages for everybody on this machine."""
    with Sender(settings, database) as sender:
        yield Site(settings, database, sender, None)


@pytest.fixture(scope="session")
def file_of_users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user for each role: ana and bob coordinate msp-1 and msp-2, rita reads, walt writes."""
    return users_file(
        tmp_path_factory.mktemp("users"),
        add={
            "ana": (("coordinator",), "msp-1"),
            "bob": (("coordinator",), "msp-2"),
            "rita": (("reader",), None),
            "walt": (("writer",), None),
        },
    )


@pytest.fixture
def site(settings: Settings, database: Database, file_of_users: Path) -> Iterator[Site]:
    """Pages for the users of a file."""
    with Sender(settings, database) as sender:
        yield Site(settings, database, sender, Users(file_of_users))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser; each test opens windows of its own."""
    with chromium() as started:
        yield started


@pytest.fixture
def embedded(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """An installation without servers."""
    with World("local:", sqlite_url, tmp_path, big_jump_count=20) as world:
        yield world


@pytest.fixture
def in_portal(embedded: World, browser: Browser, tmp_path: Path) -> Iterator[Portal]:
    """A coordinator before the portal; nothing is connected yet."""
    with portal(embedded, browser, tmp_path) as opened:
        yield opened
