"""Rotation of seal keys: all stored boxes are sealed again with the first of SEAL_KEYS."""

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
    """A box that could not be opened, with the reason and the fix."""

    sealed: Sealed
    reason: str
    fix: str


@dataclass(frozen=True)
class Rotation:
    """The result: boxes sealed again (or to be) by place, unopened ones, boxes left by key id, and keys to remove."""

    key_id: str
    resealed: dict[Place, int]
    unopened: list[Unopened]
    in_use: dict[str, int]
    removable: list[str]


def rotate(database: Database, keys: KeyRing, *, dry_run: bool = False) -> Rotation:
    """Seal boxes of older keys again, in small transactions; a row that changes meanwhile is left alone.

    Contents are not checked: a box that does not belong to its connection stays as it is. Raises StoreError.
    """
    current = keys.seal_key.key_id
    resealed: dict[Place, int] = dict.fromkeys(sealed.PLACES, 0)
    unopened: list[Unopened] = []
    for batch in _older(database, current):
        opened: list[tuple[Sealed, bytes]] = []
        for old in batch:
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
                batch = sealed.sealed_to_other_keys(tx, place, current, after=after, limit=AT_ONCE)
            if not batch:
                break
            yield batch
            after = batch[-1].row


def _keys_inside(database: Database, keys: KeyRing) -> set[str]:
    """The keys of boxes inside the bodies of dead letters: a replay sends those boxes unchanged."""
    key_ids: set[str] = set()
    row = ""
    while True:
        with database.begin() as tx:
            batch = sealed.dead_letters_after(tx, row, AT_ONCE)
        if not batch:
            return key_ids
        row = batch[-1].row
        for letter in batch:
            # A body that is not a connection.changed, or does not open, holds no usable box.
            with suppress(SealError, ContractError):
                message = decode(unseal_bytes(letter.box, letter.key_id, keys), type=None, content_type=None)
                if isinstance(message, ConnectionChanged) and message.sealed_private_key is not None:
                    key_ids.add(message.sealed_private_key.key_id)


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
