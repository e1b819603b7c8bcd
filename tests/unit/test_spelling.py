"""Fields that are misspelt: what they were to say must not be taken for unsaid."""

import json
from typing import Any

import pytest

from messages import ContractError, decode, encode
from tests.support.samples import push

CONFIRMATION = {"company_id": "c-1", "reasons": ["zero"], "quantity_before": 85}


def _with(**changes: Any) -> bytes:
    return json.dumps(json.loads(encode(push()).body) | changes).encode()


@pytest.mark.parametrize("name", ["quantityWanted", "QuantityWanted", "quantity-wanted", "QUANTITY_WANTED"])
def test_a_confirmation_in_another_spelling_is_refused(name: str) -> None:
    """A client that writes camel case learns of it, and its confirmation lets no other quantity through."""
    body = _with(confirmations=[{**CONFIRMATION, name: 50}])
    with pytest.raises(ContractError, match=f"invalid: write quantity_wanted, not '{name}'") as caught:
        decode(body, type=None, content_type=None)
    assert caught.value.partner_id == push().partner_id


def test_a_field_of_a_newer_sender_is_ignored() -> None:
    """A platform that is upgraded first may send more than this version knows."""
    assert decode(_with(note="new", confirmations=[{**CONFIRMATION, "seen_by": "ana"}]), type=None, content_type=None)
