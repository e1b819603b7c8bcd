"""The file of users: names, roles, and argon2 hashes of passwords."""

import os
from hashlib import sha256
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Annotated, Self

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from messages.values import Id
from worker.web.rights import Role, User

MIN_PASSWORD, MAX_PASSWORD = 12, 1024
MAX_FILE = 4 * 1024 * 1024

_HASHER = PasswordHasher()
# Each verification takes 64 MiB and a core for a moment: many logins at once must not take them all.
_VERIFYING = BoundedSemaphore(2)
_NOBODY = _HASHER.hash("nobody has this password")


class UsersError(Exception):
    """A file of users, or a user to add, that cannot be used; its text says why."""


class StoredUser(BaseModel):
    """A user as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\S(.*\S)?$")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    partner: Id | None = None
    password: Annotated[str, Field(pattern=r"^\$argon2id\$")]

    @model_validator(mode="after")
    def _coordinates_one_partner(self) -> Self:
        if ("coordinator" in self.roles) != (self.partner is not None):
            raise ValueError("a coordinator has a partner, and nobody else has")
        return self

    @property
    def user(self) -> User:
        """The user without the password."""
        return User(self.name, frozenset(self.roles), self.partner)

    @property
    def credential(self) -> str:
        """A fingerprint of the password's hash: sessions end when the password changes."""
        return sha256(self.password.encode()).hexdigest()


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    users: tuple[StoredUser, ...]


class Users:
    """The users of a file, which is read again once it has changed. Raises UsersError if it cannot be used."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, Lock()
        self._read_at: tuple[int, int, int] | None = None
        self._users: dict[str, StoredUser] = {}
        self._refresh()

    def find(self, name: str) -> StoredUser | None:
        """The user of this name, None if there is none (any more). Raises UsersError."""
        self._refresh()
        return self._users.get(name)

    def verify(self, name: str, password: str) -> StoredUser | None:
        """The user, if name and password are right; an unknown name takes as long as a wrong password."""
        stored = self.find(name)
        with _VERIFYING:
            try:
                _HASHER.verify(stored.password if stored else _NOBODY, password[:MAX_PASSWORD])
            except (VerificationError, InvalidHashError):
                return None
        return stored

    def _refresh(self) -> None:
        with self._lock:
            try:
                found = self._file.stat()
                changed = (found.st_mtime_ns, found.st_size, found.st_ino)
                if changed != self._read_at:
                    self._users = read(self._file)
                    self._read_at = changed
            except OSError as error:
                raise UsersError(f"{self._file} cannot be read ({error.strerror})") from None


def read(file: Path) -> dict[str, StoredUser]:
    """The users of a file by name. Raises UsersError, or OSError if it cannot be read."""
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE + 1)
    try:
        found = _Document.model_validate_json(content[:MAX_FILE]).users
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_url=False, include_input=False)[0]["loc"])
        raise UsersError(f"{file} is no file of users{f' (see {place})' if place else ''}") from None
    return {one.name: one for one in found}


def put(file: Path, name: str, roles: tuple[Role, ...], partner: str | None, password: str) -> None:
    """Add a user to the file, or replace the one of this name. Raises UsersError, OSError."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise UsersError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD:,} characters")
    users = read(file) if file.exists() else {}
    try:
        users[name] = StoredUser(name=name, roles=roles, partner=partner, password=_HASHER.hash(password))
    except ValidationError as error:
        raise UsersError(error.errors(include_url=False, include_input=False)[0]["msg"]) from None
    _write(file, users)


def remove(file: Path, name: str) -> bool:
    """Remove a user from the file. Returns False if there is none of this name. Raises UsersError, OSError."""
    users = read(file)
    if users.pop(name, None) is None:
        return False
    _write(file, users)
    return True


def _write(file: Path, users: dict[str, StoredUser]) -> None:
    text = _Document(users=tuple(users.values())).model_dump_json(indent=2)
    beside = file.with_name(f"{file.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(f"{text}\n")
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)
