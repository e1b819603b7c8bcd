"""docs/asyncapi.yaml, and its page, are what the worker does: its queues, its messages, its answers."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml

from messages import INPUTS, KINDS, OUTPUTS, type_of
from tests.support.docs import ROOT
from worker.asyncapi.files import html_text, yaml_text
from worker.topology import Topology

DOCS = ROOT / "docs"
DOCUMENT: Any = yaml.safe_load((DOCS / "asyncapi.yaml").read_text("utf-8"))


def test_the_document_is_current() -> None:
    """A platform that generates code from it gets what this worker takes and sends; `make docs` writes it."""
    assert (DOCS / "asyncapi.yaml").read_text("utf-8") == yaml_text(DOCS)
    assert (DOCS / "asyncapi.html").read_text("utf-8") == html_text(DOCS)


def test_the_page_asks_nothing_outside() -> None:
    """A reader without network sees the whole page, and nobody learns that it is read."""
    page = _Page()
    page.feed((DOCS / "asyncapi.html").read_text("utf-8"))
    page.close()
    assert page.asked == []
    assert {f"#{kind}" for kind in KINDS} <= set(page.links)
    assert set(page.links) <= {f"#{name}" for name in page.ids}
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"@import|url\(", page.style)


class _Page(HTMLParser):
    """Collects the files that a browser would load, the links, the ids, and the style of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        if tag in {"script", "link", "img", "iframe", "base"} or {"src", "srcset", "style"} & given.keys():
            self.asked.append(tag)

    def handle_data(self, data: str) -> None:
        self.style += data if self.lasttag == "style" else ""


def test_it_declares_what_the_worker_declares() -> None:
    """An operator who declares exchanges and queues by it has the worker's own, arguments and bindings too."""
    topology, declared = Topology(), DOCUMENT["x-rabbitmq"]
    assert [(one["name"], one["type"]) for one in declared["exchanges"]] == topology.exchanges
    assert [
        (one["name"], one["arguments"], [(each["exchange"], each["routing_key"]) for each in one["bindings"]])
        for one in declared["queues"]
    ] == [(queue.name, queue.arguments, list(queue.bindings)) for queue in topology.queues]


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_has_schema_operation_and_example(kind: str) -> None:
    """A developer finds each message once, with the direction in which it goes."""
    message = DOCUMENT["components"]["messages"][kind]
    assert (DOCS / message["payload"]["$ref"]).resolve() == ROOT / "messages" / "schemas" / f"{kind}.json"
    assert {one["payload"]["type"] for one in message["examples"]} == {kind}
    action = "receive" if kind in {type_of(one) for one in INPUTS} else "send"
    operation = DOCUMENT["operations"][f"{action}{message['title']}"]
    assert [_name(one) for one in operation["messages"]] == [kind]
    assert operation["action"] == action


def test_every_reference_leads_somewhere() -> None:
    """A program that follows a reference within the document arrives."""
    references = [one for one in _references(DOCUMENT) if one.startswith("#/")]
    assert references
    for reference in references:
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_a_reply_is_what_the_page_of_messages_promises() -> None:
    """The table of answers that a developer reads, and the replies that a generator reads, are the same."""
    page = (DOCS / "messages.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\S+)` \| \[schema\].+? \| \[example\].+? \| (.+) \|$", page, re.MULTILINE)
    outputs = {type_of(one) for one in OUTPUTS}
    promised = {kind: {one for one in re.findall(r"`([\w.]+)`", answer) if one in outputs} for kind, answer in rows}
    told = {
        _name(operation["messages"][0]): {_name(one) for one in operation["reply"]["messages"]}
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "receive"
    }
    assert promised == told


def test_it_names_no_host() -> None:
    """Nobody's broker stands in a public document."""
    assert [server["host"] for server in DOCUMENT["servers"].values()] == ["{host}:{port}"]


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for one in node.values():
            yield from _references(one)
    elif isinstance(node, list):
        for one in node:
            yield from _references(one)
