"""Fields that the worker ignores are told, so nobody believes that they work."""

import json
from typing import Any

import pytest

from messages import INPUTS, decode, encode, type_of
from tests.support.docs import ROOT
from tests.support.samples import push

GOLDEN = ROOT / "tests" / "unit" / "golden"
PERIOD = {"start": "2026-11-01", "end": "2026-11-30"}
CONFIRMATION = {"company_id": "c-1", "reasons": ["zero"], "quantity_before": 85}


def _ignored(body: bytes) -> list[str]:
    told: list[str] = []
    decode(body, type=None, content_type=None, tell_ignored=lambda _, paths: told.extend(paths))
    return told


def _with(**changes: Any) -> list[str]:
    return _ignored(json.dumps(json.loads(encode(push()).body) | changes).encode())


@pytest.mark.parametrize("kind", [type_of(kind) for kind in INPUTS])
def test_a_message_of_this_version_has_none(kind: str) -> None:
    """Nothing is said of a message that is understood whole."""
    assert _ignored((GOLDEN / f"{kind}.json").read_bytes()) == []


def test_each_is_told_by_its_path() -> None:
    """A developer finds the field in the message, at any depth; of a list it is told once."""
    confirmations = [{**CONFIRMATION, "seen_by": "ana"}, {**CONFIRMATION, "company_id": "c-2", "seen_by": "ben"}]
    told = _with(note={"lines": 1}, confirmations=confirmations, period={**PERIOD, "zone": "UTC"})
    assert sorted(told) == ["confirmations[].seen_by", "note", "period.zone"]


def test_a_known_field_in_a_wrong_place_is_told() -> None:
    """A field that belongs into a line does nothing above it, although its name is known."""
    assert _with(billable_users=5) == ["billable_users"]


def test_no_value_is_told_and_no_more_than_twenty() -> None:
    """A log line stays short and holds no content, whatever a message carries."""
    assert _with(**{f"added_{number}": "secret" for number in range(1_000)}) == [f"added_{n}" for n in range(20)]
    assert _with(**{"line\nbreak" + "x" * 1_000: 1}) == [repr("line\nbreak" + "x" * 30)]
