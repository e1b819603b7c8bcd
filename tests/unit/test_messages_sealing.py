"""A private key opens only for the partner, company, public key and site that it was sealed for."""

import base64
import json
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from messages import (
    KeyRing,
    SealBroken,
    SealedPrivateKey,
    SealError,
    SealKey,
    SealMismatch,
    UnknownSealKey,
    generate_keypair,
    seal,
    unseal,
)
from messages.sealing import seal_bytes, site_host, unseal_bytes

PAIR = generate_keypair()
OTHER = generate_keypair()
RING = KeyRing.parse(PAIR.private)
SECRET = "hunter2-private-key"
OWNER = {
    "public_key": "pub-1",
    "partner_id": "msp-1",
    "company_identifier": "acme",
    "site_url": "https://na.myconnectwise.net/v2025_1/ConnectWise.aspx",
}


def _sealed(private_key: str = SECRET, **changes: str) -> SealedPrivateKey:
    return seal(private_key, **OWNER | changes, seal_key=SealKey.parse(PAIR.public))


def _boxed(content: bytes) -> SealedPrivateKey:
    key = SealKey.parse(PAIR.public)
    box = SealedBox(PublicKey(key.public)).encrypt(content)
    return SealedPrivateKey(key_id=key.key_id, box=base64.b64encode(box).decode())


def test_what_was_sealed_is_unsealed() -> None:
    """The worker reads the key that the partner entered."""
    assert unseal(_sealed(), RING, **OWNER) == SECRET


def test_a_box_does_not_show_what_is_in_it() -> None:
    """Two boxes of one key differ, and neither holds it in readable form."""
    first, second = _sealed(), _sealed()
    assert first.box != second.box
    assert SECRET.encode() not in base64.b64decode(first.box)


@pytest.mark.parametrize("name", sorted(OWNER))
def test_a_box_copied_to_another_owner_opens_nothing(name: str) -> None:
    """A box moved to another partner, company, public key or site is refused, and the error names what differs."""
    field = "site_host" if name == "site_url" else name
    with pytest.raises(SealMismatch, match=field) as caught:
        unseal(_sealed(), RING, **OWNER | {name: "other.example"})
    assert SECRET not in str(caught.value)


def test_a_site_is_its_host() -> None:
    """The same site in another spelling opens the box."""
    assert unseal(_sealed(), RING, **OWNER | {"site_url": "NA.myconnectwise.net"}) == SECRET


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("na.myconnectwise.net", "na.myconnectwise.net"),
        ("https://NA.MyConnectWise.net/v4_6_release/apis/3.0/", "na.myconnectwise.net"),
        ("cw.example:8443/login?to=https://x.example", "cw.example:8443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://na.myconnectwise.net:443", "na.myconnectwise.net:443"),
        (" \u200bna.myconnectwise.net\ufeff", "na.myconnectwise.net"),
    ],
)
def test_the_host_of_a_site(url: str, host: str) -> None:
    """Every form that a partner may enter is reduced to host and port."""
    assert site_host(url) == host


@pytest.mark.parametrize(
    "url",
    ["", "https://", "/path", "https://a@b.example", "https://a.example\\@b", "a b", "a.example/b c", "http://[::1"],
)
def test_a_site_without_a_clear_host_is_refused(url: str) -> None:
    """A URL that two readers may read differently seals nothing and opens nothing."""
    with pytest.raises(ValueError, match=r"."):
        _sealed(site_url=url)
    with pytest.raises(SealMismatch):
        unseal(_sealed(), RING, **OWNER | {"site_url": url})


@pytest.mark.parametrize("bad", ["", " key", "key\n", "a\0b"])
def test_a_slip_of_copying_is_found_before_sealing(bad: str) -> None:
    """A blank or a line end copied along is refused without showing the key."""
    with pytest.raises(ValueError, match="the private key") as caught:
        _sealed(bad)
    assert "key\n" not in str(caught.value)


def test_keys_can_be_rotated() -> None:
    """After a new key is put first, old boxes still open."""
    ring = KeyRing.parse(f"{OTHER.private}, {PAIR.private}")
    assert str(ring.seal_key) == OTHER.public
    assert unseal(_sealed(), ring, **OWNER) == SECRET


def test_a_key_that_is_not_in_the_ring_is_named() -> None:
    """An operator is told which seal key is missing."""
    with pytest.raises(UnknownSealKey, match=PAIR.key_id):
        unseal(_sealed(), KeyRing.parse(OTHER.private), **OWNER)


@pytest.mark.parametrize("box", ["AAAA", "A", "=", base64.b64encode(bytes(200)).decode()])
def test_a_damaged_box_is_broken(box: str) -> None:
    """A box that cannot be opened is told apart from one of somebody else."""
    broken = SealedPrivateKey.model_construct(key_id=PAIR.key_id, box=box)
    with pytest.raises(SealBroken):
        unseal(broken, RING, **OWNER)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"private_key": 7}', b"[" * 5000, b"hunter2"])
def test_a_box_of_something_else_is_broken(content: bytes) -> None:
    """A box that was filled by other means is an error that shows none of its content."""
    with pytest.raises(SealBroken) as caught:
        unseal(_boxed(content), RING, **OWNER)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("absent", ["partner_id", "public_key", "company_identifier", "site_host"])
def test_a_box_that_does_not_say_whose_it_is_opens_nothing(absent: str) -> None:
    """Each of the four ties is checked also when it is missing."""
    content: dict[str, Any] = {**OWNER, "private_key": SECRET, "site_host": "na.myconnectwise.net"}
    del content[absent]
    with pytest.raises(SealMismatch, match=absent):
        unseal(_boxed(json.dumps(content).encode()), RING, **OWNER)


def test_halves_cannot_be_mixed_up() -> None:
    """A private key given to the platform, or a public one to the worker, is found at once, and not shown."""
    for parse, wrong in ((SealKey.parse, PAIR.private), (KeyRing.parse, PAIR.public)):
        with pytest.raises(ValueError, match="half") as caught:
            parse(wrong)
        assert wrong.partition(":")[2] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "abc", f"{PAIR.private},", f"{PAIR.private},{PAIR.private}", PAIR.private[:-4]],
    ids=["empty", "no key", "trailing comma", "twice", "cut off"],
)
def test_a_key_ring_that_cannot_be_read_shows_no_key(text: str) -> None:
    """A slip in the settings is told without the secret."""
    with pytest.raises(ValueError, match="seal key") as caught:
        KeyRing.parse(text)
    assert PAIR.private.partition(":")[2][:20] not in str(caught.value)


def test_private_keys_are_not_in_a_repr() -> None:
    """A debugger or a log of objects shows no private seal key."""
    shown = f"{PAIR!r} {RING!r} {vars(RING)!r}"
    assert PAIR.private.partition(":")[2] not in shown
    assert PAIR.key_id in repr(RING)


def test_one_class_catches_every_seal_error() -> None:
    """A handler needs one except clause."""
    assert {SealBroken, SealMismatch, UnknownSealKey} <= set(SealError.__subclasses__())


def test_bytes_are_sealed_to_a_key_of_ours() -> None:
    """A body that may hold a private key is readable only with the key that is named beside it."""
    key = SealKey.parse(PAIR.public)
    box = seal_bytes(SECRET.encode(), key)
    assert SECRET.encode() not in box
    assert unseal_bytes(box, key.key_id, RING) == SECRET.encode()
    with pytest.raises(UnknownSealKey, match=key.key_id):
        unseal_bytes(box, key.key_id, KeyRing.parse(OTHER.private))
    with pytest.raises(SealBroken):
        unseal_bytes(box[:-1], key.key_id, RING)
