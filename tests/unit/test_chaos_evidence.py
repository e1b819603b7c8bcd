"""The evidence of `make chaos`: which requests count as writes, and where a secret was left."""

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from tests.chaos.collect import applied
from tests.chaos.history import Patch
from tests.chaos.scan import scan

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "wrote"),
    [
        ({}, True),
        ({"status": None, "fault": "lost_response"}, True),
        ({"method": "GET"}, False),
        ({"quantity_after": None, "fault": "hang"}, False),
        ({"quantity_after": 1.0, "fault": "not_kept"}, False),
        ({"path": "/v2025_1/apis/3.0/finance/agreements/7"}, False),
    ],
)
def test_applied_is_what_changed_connectwise(changes: dict[str, Any], *, wrote: bool) -> None:
    """Only a PATCH that changed the addition counts as a write, whether its answer arrived or not."""
    record = {
        "time": START.isoformat(),
        "tenant": "cw-p",
        "method": "PATCH",
        "path": "/v2025_1/apis/3.0/finance/agreements/7/additions/11",
        "status": 200,
        "fault": None,
        "quantity_before": 1.0,
        "quantity_after": 5.0,
        "body": [{"op": "replace", "path": "quantity", "value": 5}],
    }
    fault = changes.get("fault")
    assert applied(record | changes) == (Patch("p", 11, 1.0, 5.0, START, fault) if wrote else None)


SECRET = 'sEcret/0a"f+='


@pytest.mark.parametrize(
    "content",
    [
        SECRET.encode(),
        SECRET.encode().hex().encode(),
        quote(SECRET, safe="").encode(),
        base64.b64encode(f"harbourit+Demo:{SECRET}7".encode()),
        base64.b64encode(f"harbouri+Demo:{SECRET}7".encode()),
        base64.b64encode(f"harbour+Demo:{SECRET}7".encode()),
        b'{"private_key": "sEcret/0a\\"f+="}',
    ],
)
def test_secret_is_found_in_every_form(content: bytes) -> None:
    """Text, hex, URL form, JSON and a Basic header at every alignment are found; what is clean is not."""
    assert scan(SECRET, [("there", b"before " + content + b" after"), ("clean", b"sEcret")]) == ["there"]
