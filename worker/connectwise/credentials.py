"""The keys of a connection, opened in memory."""

import structlog

from cwclient import Credentials
from messages import KeyRing, SealedPrivateKey, SealError, SealMismatch, UnknownSealKey, unseal
from store.connections import ConnectionVersion
from worker.rules.errors import KeyMismatch, KeyUnreadable, SealKeyMissing, SealKeyUnknown

# The connection's fields that a sealed private key belongs to, in the words of the form.
FIELDS = {
    "company_identifier": "Company ID",
    "partner_id": "account",
    "public_key": "Public Key",
    "site_host": "ConnectWise URL",
}

log = structlog.get_logger()


def credentials_of(connection: ConnectionVersion, key_ring: KeyRing, *, were_taken: bool) -> Credentials:
    """Open the private key; `were_taken`: ConnectWise has taken these keys, so the seal key was there then.

    Raises KeyMismatch, SealKeyUnknown or SealKeyMissing, KeyUnreadable.
    """
    try:
        private_key = unseal(
            SealedPrivateKey(key_id=connection.key_id or "-", box=connection.box or "-"),
            key_ring,
            public_key=connection.public_key or "",
            partner_id=connection.partner_id,
            company_identifier=connection.company_identifier or "",
            site_url=connection.site_url or "",
        )
    except (SealError, ValueError) as error:
        log.warning("key.unreadable", partner=connection.partner_id, key_id=connection.key_id, error=str(error))
        if isinstance(error, SealMismatch):
            raise KeyMismatch(str(error), [FIELDS[name] for name in error.names]) from error
        if isinstance(error, UnknownSealKey):
            raise (SealKeyMissing if were_taken else SealKeyUnknown)(str(error)) from error
        raise KeyUnreadable(str(error)) from error
    return Credentials(
        company_identifier=connection.company_identifier or "",
        public_key=connection.public_key or "",
        private_key=private_key,
    )
