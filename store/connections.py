"""Connections: all versions that were announced; the newest one counts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BindParameter, Column, ScalarSelect, and_, bindparam, case, null, or_, select, update

from store.database import Tx, upsert
from store.schema import connections

Version = tuple[datetime, str]
T = TypeVar("T")


@dataclass(frozen=True)
class ConnectionVersion:
    """One version of a partner's connection; `tenant` is None for a disconnect (a tombstone).

    `check_json`: the `connection.checked` that answered it, None as long as it has not been checked.
    `api_version`: an older version than configured, if the server serves only that. `answered`: the API has answered.
    """

    partner_id: str
    changed_at: datetime
    message_id: str
    tenant: str | None
    site_url: str | None = None
    company_identifier: str | None = None
    public_key: str | None = None
    key_id: str | None = None
    box: str | None = None
    ca_bundle: str | None = None
    base_url: str | None = None
    base_url_at: datetime | None = None
    api_version: str | None = None
    answered: bool = False
    check_json: str | None = None
    check_due_at: datetime | None = None
    correlation_id: str | None = None

    @property
    def check(self) -> dict[str, Any] | None:
        """The answer to it, as plain JSON values."""
        return None if self.check_json is None else json.loads(self.check_json)

    @property
    def correlation(self) -> str:
        """The correlation id of answers about this version."""
        return self.correlation_id or self.message_id

    @property
    def version(self) -> Version:
        """The order of versions: the time of the change, ties by message id."""
        return (self.changed_at, self.message_id)


class TenantChange(NamedTuple):
    """The tenant that was connected at a time; None = disconnected."""

    changed_at: datetime
    tenant: str | None


def save(tx: Tx, new: ConnectionVersion) -> bool:
    """Store a version. Returns True if it is the newest now. Only the newest keeps its key.

    Storing the same version again changes nothing.
    """
    values = {
        "partner_id": new.partner_id,
        "changed_at": new.changed_at,
        "message_id": new.message_id,
        "disconnected": new.tenant is None,
        "tenant": new.tenant,
        "site_url": new.site_url,
        "company_identifier": new.company_identifier,
        "public_key": new.public_key,
        "key_id": new.key_id,
        "box": new.box,
        "ca_bundle": new.ca_bundle,
        "check_due_at": new.check_due_at,
        "correlation_id": new.correlation_id,
    }
    tx.execute(upsert(tx, connections).values(values).on_conflict_do_nothing())
    newest = current(tx, new.partner_id)
    if newest is None:
        return False
    tx.execute(
        update(connections)
        .where(
            connections.c.partner_id == new.partner_id,
            or_(
                connections.c.changed_at < newest.changed_at,
                and_(
                    connections.c.changed_at == newest.changed_at,
                    connections.c.message_id < newest.message_id,
                ),
            ),
        )
        .values(box=None, key_id=None, ca_bundle=None, check_due_at=None)
    )
    return newest.version == new.version


def current(tx: Tx, partner_id: str) -> ConnectionVersion | None:
    """The newest version, which may be a tombstone; None if the partner never connected."""
    row = tx.execute(_CURRENT, {"partner": partner_id}).mappings().first()
    return None if row is None else _version(dict(row))


def of_current(column: Column[T]) -> ScalarSelect[T]:
    """A column of the newest connection of the parameter `partner`, for a statement about that partner."""
    newest: ScalarSelect[T] = _CURRENT.with_only_columns(column).scalar_subquery()
    return newest


def all_current(tx: Tx, partner_id: str | None = None) -> list[ConnectionVersion]:
    """The newest version of each partner, or of one, by partner id."""
    partners = select(connections.c.partner_id).distinct().order_by(connections.c.partner_id)
    if partner_id is not None:
        partners = partners.where(connections.c.partner_id == partner_id)
    versions = (current(tx, partner) for partner in tx.execute(partners).scalars().all())
    return [version for version in versions if version is not None]


def tenant_history(tx: Tx, partner_id: str) -> list[TenantChange]:
    """The tenants of all versions, oldest first; `tenant_at` tells from them under which one a mapping was made."""
    return [TenantChange(row.changed_at, row.tenant) for row in tx.execute(_TENANTS, {"partner": partner_id})]


def tenant_at(history: Sequence[tuple[datetime, str | None]], when: datetime) -> str | None:
    """The tenant that was connected last at `when`; a disconnect in between does not forget it."""
    return next((tenant for changed_at, tenant in reversed(history) if tenant and changed_at <= when), None)


def is_same_tenant(tx: Tx, partner_id: str, then: datetime, at: datetime) -> bool:
    """True if the tenant that was connected `then` is the one that is connected `at`."""
    history = tenant_history(tx, partner_id)
    return tenant_at(history, then) == tenant_at(history, at)


def save_check(tx: Tx, version: ConnectionVersion, check: dict[str, Any]) -> None:
    """Store what the check of this version found. It stays due if another check was requested after this one began."""
    due_at = case((connections.c.check_due_at == version.check_due_at, null()), else_=connections.c.check_due_at)
    tx.execute(update(connections).where(*_is(version)).values(check_json=json.dumps(check), check_due_at=due_at))


def revise_check(tx: Tx, version: ConnectionVersion, check: dict[str, Any]) -> None:
    """Store what was learned since the check of this version, whether or not another one is due."""
    tx.execute(update(connections).where(*_is(version)).values(check_json=json.dumps(check)))


def check_again(tx: Tx, version: ConnectionVersion, at: datetime, correlation_id: str) -> None:
    """Make a check of this version, which must not be a tombstone, due; its answer carries this correlation id."""
    tx.execute(update(connections).where(*_is(version)).values(check_due_at=at, correlation_id=correlation_id))


def save_discovery(
    tx: Tx, version: ConnectionVersion, base_url: str, found_at: datetime, api_version: str | None, *, answered: bool
) -> None:
    """Store where the API was found for this version, and the API version that it serves."""
    discovery = {"base_url": base_url, "base_url_at": found_at, "api_version": api_version, "answered": answered}
    tx.execute(update(connections).where(*_is(version)).values(discovery))


def _is(version: ConnectionVersion) -> tuple[Any, ...]:
    return (
        connections.c.partner_id == version.partner_id,
        connections.c.changed_at == version.changed_at,
        connections.c.message_id == version.message_id,
    )


def _newest_first(partner_id: str | BindParameter[str]) -> Any:  # noqa: ANN401 - a Select of all columns
    return (
        select(connections)
        .where(connections.c.partner_id == partner_id)
        .order_by(connections.c.changed_at.desc(), connections.c.message_id.desc())
    )


_CURRENT = _newest_first(bindparam("partner")).limit(1)
_TENANTS = (
    select(connections.c.changed_at, connections.c.tenant)
    .where(connections.c.partner_id == bindparam("partner"))
    .order_by(connections.c.changed_at, connections.c.message_id)
)


def _version(row: dict[str, Any]) -> ConnectionVersion:
    row.pop("disconnected")
    return ConnectionVersion(**row)
