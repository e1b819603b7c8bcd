"""Seal a ConnectWise private key so that only the worker can read it: libsodium sealed boxes.

The box also holds what the key belongs to, so a box copied to another partner or another site opens nothing.
No error text and no repr shows a private key.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self
from urllib.parse import urlsplit

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from pydantic import StringConstraints

from messages.envelope import Part
from messages.values import Words

_KEY = re.compile(r"([0-9a-f]{16}):([A-Za-z0-9+/]{43}=)", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FORMS = "give https://na.myconnectwise.net, or na.myconnectwise.net"


class SealedPrivateKey(Part):
    """A private key as it travels and is stored."""

    key_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$"), Words.like("9f86d081884c7d65")]
    """The seal key that opens the box: what stands before the colon in its text form."""
    box: Annotated[str, StringConstraints(max_length=8192, pattern=r"^[A-Za-z0-9+/]+={0,2}$"), Words.like("c2VhbGVk")]
    """A libsodium sealed box in base64, of the JSON object that docs/sealing.md specifies."""


class SealError(Exception):
    """A sealed private key cannot be used."""


class UnknownSealKey(SealError):
    """The key ring lacks the seal key: add it to the ring, or have the private key sealed anew."""


class SealBroken(SealError):
    """The box is damaged, or was not made by `seal`: have the private key entered again."""


class SealMismatch(SealError):
    """The box belongs to another partner, company, public key or site: have the private key entered again.

    `names` are of these: `partner_id`, `company_identifier`, `public_key`, `site_host`.
    """

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names = tuple(names)


@dataclass(frozen=True)
class SealKey:
    """The public half, which the platform seals with. Text form: `key_id:base64`."""

    key_id: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise ValueError if the text is no public seal key."""
        key_id, public = _parse_key(text)
        if key_id != _key_id(public):
            raise ValueError(f"seal key {key_id} is not the public half")
        return cls(key_id, public)

    def __str__(self) -> str:
        return _key_text(self.key_id, self.public)


@dataclass(frozen=True)
class SealKeyPair:
    """A new pair of seal keys, both halves in their text form: `public` for the platform, `private` for the worker."""

    key_id: str
    public: str
    private: str = field(repr=False)


class KeyRing:
    """The private seal keys of the worker. The first is current; the others still open what was sealed with them."""

    def __init__(self, keys: dict[str, PrivateKey]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read private keys in text form, comma separated. Raises ValueError, which never shows a key."""
        keys: dict[str, PrivateKey] = {}
        for item in text.split(","):
            key_id, secret = _parse_key(item)
            private = PrivateKey(secret)
            if key_id != _key_id(bytes(private.public_key)):
                raise ValueError(f"seal key {key_id} is not the private half")
            if key_id in keys:
                raise ValueError(f"seal key {key_id} is there twice")
            keys[key_id] = private
        return cls(keys)

    @property
    def seal_key(self) -> SealKey:
        """The public half of the current key."""
        key_id, private = next(iter(self._keys.items()))
        return SealKey(key_id, bytes(private.public_key))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the current one first."""
        return tuple(self._keys)

    def find(self, key_id: str) -> PrivateKey:
        """Raise UnknownSealKey if the ring lacks it."""
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownSealKey(f"no seal key {key_id!r} in the key ring") from None

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def generate_keypair() -> SealKeyPair:
    """Make a new pair; the key id is a fingerprint of the public half, so halves cannot be mixed up."""
    private = PrivateKey.generate()
    public = bytes(private.public_key)
    key_id = _key_id(public)
    return SealKeyPair(key_id=key_id, public=_key_text(key_id, public), private=_key_text(key_id, bytes(private)))


def site_host(site_url: str) -> str:
    """Return the `host[:port]` of a URL or bare host, in lower case. Raises ValueError if there is none.

    Else as it is written: other languages find the same, whatever they know of default ports and international names.
    """
    text = site_url.strip().strip("\u200b\ufeff")
    host = urlsplit(text if _SCHEME.match(text) else f"//{text}").netloc.lower()
    if "@" in host:
        raise ValueError(f"the site URL must not contain a user name or password: {_FORMS}")
    if not host or "\\" in text or any(character.isspace() for character in text):
        raise ValueError(f"the site URL names no host: {_FORMS}")
    return host


def seal(
    private_key: str, *, public_key: str, partner_id: str, company_identifier: str, site_url: str, seal_key: SealKey
) -> SealedPrivateKey:
    """Seal a ConnectWise private key to the partner, company identifier, public key and site it belongs to.

    Raises ValueError if the key is empty, has a blank at an end (a slip of copying) or a control character, or if
    the URL names no host.
    """
    if not private_key or private_key != private_key.strip() or not private_key.isprintable():
        raise ValueError("the private key is empty, or has a blank at an end or a character that cannot be seen")
    content = {"private_key": private_key, **_belongings(public_key, partner_id, company_identifier, site_url)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    box = SealedBox(PublicKey(seal_key.public)).encrypt(canonical)
    return SealedPrivateKey(key_id=seal_key.key_id, box=base64.b64encode(box).decode())


def unseal(
    sealed: SealedPrivateKey,
    keys: KeyRing,
    *,
    public_key: str,
    partner_id: str,
    company_identifier: str,
    site_url: str,
) -> str:
    """Open a box and return the private key, if it belongs to exactly these. Raises a SealError."""
    content = _open(sealed, keys.find(sealed.key_id))
    private_key = content.get("private_key")
    if not isinstance(private_key, str):
        raise SealBroken("the sealed box holds no private key")
    try:
        expected = _belongings(public_key, partner_id, company_identifier, site_url)
    except ValueError as error:
        raise SealMismatch(str(error), ["site_host"]) from None
    wrong = sorted(name for name, value in expected.items() if content.get(name) != value)
    if wrong:
        raise SealMismatch(f"the sealed private key belongs to another {', '.join(wrong)}", wrong)
    return private_key


def seal_bytes(content: bytes, seal_key: SealKey) -> bytes:
    """Seal bytes of any length, so that only the holder of the private half reads them."""
    return SealedBox(PublicKey(seal_key.public)).encrypt(content)


def unseal_bytes(box: bytes, key_id: str, keys: KeyRing) -> bytes:
    """Open what `seal_bytes` sealed to the key of this id. Raises UnknownSealKey or SealBroken."""
    try:
        return SealedBox(keys.find(key_id)).decrypt(box)
    except CryptoError:
        raise SealBroken(f"what was sealed with the key {key_id} cannot be opened") from None


def _open(sealed: SealedPrivateKey, private: PrivateKey) -> dict[str, object]:
    try:
        content = json.loads(SealedBox(private).decrypt(base64.b64decode(sealed.box, validate=True)))
    except (binascii.Error, CryptoError, ValueError, RecursionError):
        raise SealBroken("the sealed box cannot be opened") from None
    if not isinstance(content, dict):
        raise SealBroken("the sealed box holds no private key")
    return content


def _belongings(public_key: str, partner_id: str, company_identifier: str, site_url: str) -> dict[str, str]:
    return {
        "public_key": public_key,
        "partner_id": partner_id,
        "company_identifier": company_identifier,
        "site_host": site_host(site_url),
    }


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def _key_text(key_id: str, key: bytes) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


def _parse_key(text: str) -> tuple[str, bytes]:
    parts = _KEY.fullmatch(text.strip())
    if not parts:
        raise ValueError("a seal key is written key_id:base64, as `generate_keypair` makes it")
    return parts[1], base64.b64decode(parts[2])
