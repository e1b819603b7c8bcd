"""`actions`: who did what, also what a page has begun."""

import json
from pathlib import Path

from store import operation_queries
from store.dead_letter_queries import DeadLetterFilter
from tests.integration.test_store_dead_letters import add, numbered
from tests.support.world import World
from worker.operations import conduct


def test_actions_of_operators_are_listed_and_stopped(sqlite_url: str, tmp_path: Path) -> None:
    """A pause and its end stand there with who and why; what a page has begun can be stopped from a terminal."""
    with World("local:", sqlite_url, tmp_path) as world:
        assert world.command("actions").stdout == "No operator did anything yet.\n"
        world.command("pause", "--all", "--why", "an incident", "--by", "ana")
        world.command("resume", "--all", "--why", "it is over", "--by", "bob")
        add(world.database, numbered(1, error="no such host"), numbered(2))
        found = world.command("dead-letters", "discard", "--text", "SUCH host", "--why", "of a test", "--by", "ana")
        assert found.stdout == "Discarded 1.\n", found.stderr
        with world.database.begin() as tx:
            begun = conduct.begin(tx, "replay", DeadLetterFilter(state="open"), by="walt", why=None, origin="page")
        listed = json.loads(world.command("actions", "--json").stdout)["actions"]
        assert [(one["kind"], one["begun_by"], one["why"], one["origin"]) for one in listed] == [
            ("replay", "walt", None, "page"),
            ("discard", "ana", "of a test", "command"),
            ("resume", "bob", "it is over", "command"),
            ("pause", "ana", "an incident", "command"),
        ]
        assert listed[1]["chosen"] == {"state": "open", "text": "SUCH host"}
        assert world.command("actions", "--stop", begun.id, "--by", "ana").stdout == "It stops.\n"
        with world.database.begin() as tx:
            assert operation_queries.required(tx, begun.id).stop_by == "ana"
        assert world.command("actions", "--stop", "unknown").returncode == 1
