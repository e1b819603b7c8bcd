"""The texts of docs/asyncapi.yaml and docs/asyncapi.html.

PyYAML is one of the developers' packages, so a worker never imports this.
"""

import json
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from messages.schemas import schemas
from worker.asyncapi.document import Node, document
from worker.asyncapi.page import page


def read_document(docs: Path) -> Node:
    """Return the document with the examples of the folder `examples/json` there."""
    examples: dict[str, list[Any]] = defaultdict(list)
    for path in sorted((docs / "examples" / "json").glob("*.json")):
        example = json.loads(path.read_bytes())
        examples[example["type"]].append(example)
    return document(version("phin-connectwise"), examples)


def yaml_text(docs: Path) -> str:
    """Return the document as YAML, the same bytes whenever the document is the same."""
    head = "# Written by `make docs` from the models and the topology.\n"
    return head + yaml.dump(read_document(docs), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


def html_text(docs: Path) -> str:
    """Return the document as a page, the same bytes whenever the document and the schemas are the same."""
    return page(read_document(docs), {name.removesuffix(".json"): json.loads(text) for name, text in schemas().items()})


class _Plain(yaml.SafeDumper):
    """Lines stay lines, and what is there twice is written twice: an anchor says nothing to a reader."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as PyYAML has it
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Plain.add_representer(str, _Plain.represent_str)
