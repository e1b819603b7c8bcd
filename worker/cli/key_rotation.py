"""Rotation of seal keys: everything that is stored sealed is sealed anew with the first of SEAL_KEYS."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from messages import ConnectionChanged, ContractError, KeyRing, SealError, UnknownSealKey, decode
from messages.sealing import seal_bytes, unseal_bytes
from store import Database, sealed
from store.sealed import Place, Sealed

AT_ONCE = 20


@dataclass(frozen=True)
class Unopened:
    """A box that could not be opened, why, and what to do."""

    sealed: Sealed
    reason: str
    fix: str


@dataclass(frozen=True)
class Rotation:
    """The boxes sealed anew (or to be), by place; those that could not be; the number left sealed to each key id."""

    key_id: str
    resealed: dict[Place, int]
    unopened: list[Unopened]
    in_use: dict[str, int]
    removable: list[str]


def rotate(database: Database, keys: KeyRing, *, dry_run: bool = False) -> Rotation:
    """Seal anew what is sealed to an older key, in small transactions; a row that changes meanwhile is left alone.

    Nothing is looked into: a box that does not belong to its connection stays one. Raises StoreError.
    """
    current = keys.seal_key.key_id
    resealed: dict[Place, int] = dict.fromkeys(sealed.PLACES, 0)
    unopened: list[Unopened] = []
    for some in _older(database, current):
        opened: list[tuple[Sealed, bytes]] = []
        for old in some:
            try:
                opened.append((old, seal_bytes(unseal_bytes(old.box, old.key_id, keys), keys.seal_key)))
            except SealError as error:
                unopened.append(_unopened(old, error))
        if dry_run:
            stored = [old for old, _ in opened]
        else:
            with database.begin() as tx:
                stored = [old for old, box in opened if sealed.replace(tx, old, current, box)]
        for old in stored:
            resealed[old.place] += 1
    with database.begin() as tx:
        in_use, waiting = sealed.in_use(tx), sealed.in_outbox(tx)
    still = {*waiting, *(one.sealed.key_id for one in unopened)} if dry_run else {*in_use}
    still |= _keys_inside(database, keys)
    removable = [key_id for key_id in keys.key_ids if key_id != current and key_id not in still]
    return Rotation(current, resealed, unopened, in_use, removable)


def _older(database: Database, current: str) -> Iterator[list[Sealed]]:
    for place in sealed.PLACES:
        after = ""
        while True:
            with database.begin() as tx:
                some = sealed.sealed_to_other_keys(tx, place, current, after=after, limit=AT_ONCE)
            if not some:
                break
            yield some
            after = some[-1].row


def _keys_inside(database: Database, keys: KeyRing) -> set[str]:
    """The keys that private keys inside dead letters are sealed to: a replay brings those boxes as they are."""
    found: set[str] = set()
    row = ""
    while True:
        with database.begin() as tx:
            some = sealed.dead_letters_after(tx, row, AT_ONCE)
        if not some:
            return found
        row = some[-1].row
        for one in some:
            # What is no connection.changed, or does not open, holds no key that could be used.
            with suppress(SealError, ContractError):
                message = decode(unseal_bytes(one.box, one.key_id, keys), type=None, content_type=None)
                if isinstance(message, ConnectionChanged) and message.sealed_private_key is not None:
                    found.add(message.sealed_private_key.key_id)


def _unopened(old: Sealed, error: SealError) -> Unopened:
    again = (
        "have the partner's ConnectWise keys entered again"
        if old.place == "connection"
        else "discard it, and have what it told sent again"
    )
    if isinstance(error, UnknownSealKey):
        reason = f"sealed with the key {old.key_id}, which is not in SEAL_KEYS"
        return Unopened(old, reason, f"put that key behind the others in SEAL_KEYS and rotate again, or {again}")
    return Unopened(old, "the sealed box is damaged", again)
