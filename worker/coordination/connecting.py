"""Connections: the private key is sealed before anything leaves the process."""

from datetime import datetime
from typing import Any

from messages import ConnectionChanged, KeyRing, seal
from worker.settings import Settings


def connected(
    settings: Settings,
    at: datetime,
    partner: str,
    *,
    site: str,
    company_identifier: str,
    public_key: str,
    private_key: str,
    ca_bundle: str | None,
) -> ConnectionChanged:
    """Make the event, with the private key sealed. Raises SettingsError, and ValueError for an invalid value."""
    keys = settings.require("seal_keys").seal_keys
    belongings: dict[str, Any] = {
        "partner_id": partner,
        "company_identifier": company_identifier,
        "public_key": public_key,
        "site_url": site,
    }
    seal_key = KeyRing.parse(keys.get_secret_value() if keys else "").seal_key
    sealed = seal(private_key, seal_key=seal_key, **belongings)
    return ConnectionChanged(
        correlation_id=f"connection {at.isoformat()}",
        changed_at=at,
        sealed_private_key=sealed,
        ca_bundle=ca_bundle,
        **belongings,
    )
