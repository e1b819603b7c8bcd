"""The worker's own errors of a call to ConnectWise, beside cwclient's. `outcomes.py` decides what follows from each.

An answer that blames the whole connection is believed only when a second one confirms it: until then it is Unconfirmed.
"""

from collections.abc import Sequence

from cwclient import (
    BadCredentials,
    CertificateRefused,
    ConnectWiseError,
    ForbiddenHost,
    GatewayRefused,
    RecordNotFound,
    UnknownCompany,
    Unreachable,
    WrongRoute,
)

# The errors that say nothing of a record, whatever was asked for: they are the host's, or of one node behind it.
OF_NO_RECORD = (CertificateRefused, ForbiddenHost, UnknownCompany)
# The errors that blame the whole connection, and may yet be a server's slip, or about one record.
OF_THE_CONNECTION = (BadCredentials, *OF_NO_RECORD)
# So many additions whose reads, or writes, are refused while no other is answered are a matter of the connection.
REFUSED_IN_A_ROW = 4


class Unconfirmed(Exception):
    """An answer that blames the whole connection, and that nothing confirms yet: it passes, or is about one record.

    `cause` is the answer.
    """

    def __init__(self, cause: ConnectWiseError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class WriteRefused(Unconfirmed):
    """A write was refused with 401 or 403. No read tells if others would be, see connectwise/write_answers.py."""


class RecordDenied(Unconfirmed):
    """A write was refused although others are taken: it is about this record."""


class RestrictedAgreement(Exception):
    """This agreement is refused although the rights as a whole are granted: its type is not allowed."""


class RightRefused(Exception):
    """A right is missing for the whole connection: a key of problems.MISSING_RIGHT. `said`: ConnectWise's words."""

    def __init__(self, right: str, said: str = "") -> None:
        super().__init__(right)
        self.right, self.said = right, said


class NotStarted(Exception):
    """The PATCH was not sent: too little time was left of the lease, or since the ledger row was opened."""


class Moved(NotStarted):
    """The PATCH reached nothing, as the codebase or the API version has changed since the read: decide anew."""


class RouteUnknown(WrongRoute):
    """The codebase may have moved. It was looked up a moment ago, and may be again in so many seconds."""

    def __init__(self, cause: WrongRoute, seconds: float) -> None:
        super().__init__(cause.message, status=cause.status, code=cause.code)
        self.said, self.seconds = cause.said, seconds


class KeyUnreadable(Exception):
    """The sealed private key does not open for this connection: it is damaged."""


class KeyMismatch(KeyUnreadable):
    """The sealed private key belongs to another connection; `fields` differ, named as in the form."""

    def __init__(self, message: str, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = fields


class SealKeyUnknown(KeyUnreadable):
    """The private key is sealed with a key that is not, or no longer, in SEAL_KEYS."""


class SealKeyMissing(Exception):
    """SEAL_KEYS lacks the key of a private key that was opened before, and taken by ConnectWise."""


def as_maintenance(error: WrongRoute) -> ConnectWiseError:
    """Return a redirect, or a web server's 404, as Unreachable. Any other error stays as it is.

    Where the API has answered before they are maintenance, like an HTML page.
    """
    status = error.status or 0
    if not (300 <= status < 400 or status == 404):
        return error
    unreachable = Unreachable(error.message, sent=True, status=error.status)
    unreachable.said = error.said
    return unreachable


def as_gateway(error: RecordNotFound) -> ConnectWiseError:
    """Return a 404 without the API's form as GatewayRefused: the record was read a moment ago, but no PATCH gets there.

    Any other error stays as it is.
    """
    if error.code:
        return error
    refused = GatewayRefused(error.message, sent=False, status=error.status)
    refused.said = error.said
    return refused
