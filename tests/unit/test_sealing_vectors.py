"""docs/examples/sealing-vectors.json is what the worker does, so another language can be held to it."""

import base64
import json
from typing import Any

import pytest

from cwclient import InvalidSite, parse_site
from messages import KeyRing, SealedPrivateKey, SealError, SealKey, seal, unseal
from messages.sealing import unseal_bytes
from tests.support.docs import ROOT

VECTORS: Any = json.loads((ROOT / "docs" / "examples" / "sealing-vectors.json").read_bytes())
RING = KeyRing.parse(VECTORS["seal_key"]["private"])
OWNER = ("partner_id", "company_identifier", "public_key", "site_url")


@pytest.mark.parametrize("vector", VECTORS["opening"], ids=lambda one: one["name"])
def test_a_box_opens_or_is_refused_as_the_vector_says(vector: Any) -> None:
    """A developer whose boxes are like these knows which of them the worker takes, and why it refuses the others."""
    message, expected = vector["message"], vector["expected"]
    sealed = SealedPrivateKey(**message["sealed_private_key"])
    owner = {name: message[name] for name in OWNER}
    if vector["content"] is not None:
        assert unseal_bytes(base64.b64decode(sealed.box), sealed.key_id, RING).decode() == vector["content"]
    if "private_key" in expected:
        assert unseal(sealed, RING, **owner) == expected["private_key"]
        return
    with pytest.raises(SealError) as refused:
        unseal(sealed, RING, **owner)
    assert type(refused.value).__name__ == expected["error"]
    assert list(getattr(refused.value, "names", [])) == expected.get("names", [])


@pytest.mark.parametrize("vector", VECTORS["making"], ids=lambda one: repr(one["site_url"]))
def test_the_content_of_a_box_is_as_the_vector_says(vector: Any) -> None:
    """A developer compares what goes into a box, for each form of a site; the worker's own address goes by the same."""
    owner = {name: vector[name] for name in OWNER}
    key = SealKey.parse(VECTORS["seal_key"]["public"])
    if vector["content"] is None:
        with pytest.raises(ValueError, match="URL"):
            seal(vector["private_key"], **owner, seal_key=key)
        with pytest.raises(InvalidSite):
            parse_site(vector["site_url"])
        return
    assert parse_site(vector["site_url"])
    sealed = seal(vector["private_key"], **owner, seal_key=key)
    assert json.loads(unseal_bytes(base64.b64decode(sealed.box), sealed.key_id, RING)) == vector["content"]


def test_the_key_of_the_vectors_says_that_it_is_public() -> None:
    """Nobody takes the test key for one to seal with."""
    assert VECTORS["warning"].startswith("PUBLIC TEST KEY.")
