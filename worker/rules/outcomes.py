"""The table of outcomes: what follows from an error of a call, and which problem the coordinator reads.

An HTTP status becomes an outcome in three steps:

1. `cwclient/classify.py` makes an error of status and words: 401 BadCredentials, 403 MissingRight, 404 RecordNotFound …
2. `worker/connectwise/session.py` makes a second call before it believes an error that may be the whole connection's.
   The results are the worker's own errors (`worker/rules/errors.py`):
   - a read, 401: BadCredentials if the probe meets it too, else Unconfirmed
   - a read, 403: RightRefused if the role lacks an Inquire right, else RestrictedAgreement
   - a write, 401 or 403: WriteRefused; `worker/connectwise/write_answers.py` turns it into RecordDenied (this record),
     Unconfirmed (nobody knows yet), or the connection's own: BadCredentials for 401, RightRefused for 403
   - 404: RecordNotFound, once the base URL has been looked up again and the connection is fine; of a write
     GatewayRefused, unless it is in the API's form
3. `classify`, here, gives the outcome: fail the line, fail all lines of the partner, retry the line, pause the partner.
"""

from dataclasses import dataclass

from cwclient import (
    BadCredentials,
    CaBundleUnreadable,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateRefused,
    CertificateUntrusted,
    ClientIdRefused,
    ConnectWiseError,
    ForbiddenHost,
    GatewayRefused,
    HostUnknown,
    InvalidSite,
    MissingRight,
    NotConnectWise,
    NotHttps,
    QuantityNotKept,
    RateLimited,
    RecordBusy,
    RecordNotFound,
    RecordRefused,
    RequestRefused,
    ServerTrouble,
    UnknownCompany,
    Unreachable,
    VersionRefused,
    WrongRoute,
)
from messages import Problem
from worker.rules import retry
from worker.rules.errors import (
    OF_NO_RECORD,
    KeyMismatch,
    KeyUnreadable,
    NotStarted,
    RecordDenied,
    RestrictedAgreement,
    RightRefused,
    RouteUnknown,
    SealKeyMissing,
    SealKeyUnknown,
    Unconfirmed,
)
from worker.rules.problems import AGREEMENT_EDIT, MISSING_RIGHT, problem


@dataclass(frozen=True)
class FailLine:
    """The line is answered `failed`; trying again would not help."""

    problem: Problem


@dataclass(frozen=True)
class FailPartner:
    """All of the partner's lines fail: each would meet the same. `reason` is the dead letters' reason."""

    problem: Problem
    reason: str


@dataclass(frozen=True)
class RetryLine:
    """The line is tried again after `seconds`."""

    problem: Problem
    seconds: float


@dataclass(frozen=True)
class PausePartner:
    """The partner is left alone for `seconds`; no line's attempt is counted."""

    problem: Problem
    seconds: float


ErrorOutcome = FailLine | FailPartner | RetryLine | PausePartner

# After these the same is tried again.
RETRIED = (RetryLine, PausePartner)


def classify(error: BaseException, *, attempts: int, chance: float, longest: float = retry.RETRY_MAX) -> ErrorOutcome:
    """Return the outcome of this error after so many earlier attempts.

    `chance` is in 0 … 1; `longest`: the seconds that a back-off may last. A subclass stands above its base class.
    """
    wait = retry.backoff(attempts, chance, longest)
    said = error.said if isinstance(error, ConnectWiseError) else None
    match error:
        # --- the keys
        case BadCredentials():
            return _keys_fail("bad_credentials", said=said)
        case SealKeyUnknown():
            return _keys_fail("seal_key_unknown")
        case KeyMismatch():
            return _keys_fail("key_mismatch", fields=error.fields)
        case KeyUnreadable():
            return _keys_fail("key_unreadable")
        # --- the rights of the security role
        case RightRefused():
            return _keys_fail(MISSING_RIGHT[error.right], said=error.said)
        case MissingRight():
            return _keys_fail(MISSING_RIGHT[AGREEMENT_EDIT], said=said)
        case RestrictedAgreement():
            return FailLine(problem("restricted_agreement"))
        case RecordDenied():
            return FailLine(problem("record_denied", reason=f"HTTP {error.cause.status}", said=error.cause.said))
        case Unconfirmed():
            reason, last = _reason(error.cause), attempts + 1 >= retry.UNEXPECTED_TRIES
            if last and not isinstance(error.cause, OF_NO_RECORD):
                return FailLine(problem("record_denied", reason=reason, said=error.cause.said))
            return RetryLine(problem("server_trouble", reason=reason, said=error.cause.said), wait)
        # --- the address, the certificate and the Company ID
        case CaBundleUnreadable():
            return _connection_fails("ca_bundle_unreadable")
        case CertificateUntrusted():
            return _connection_fails("certificate_untrusted", reason=error.message)
        case CertificateNameMismatch():
            return _connection_fails("certificate_name", reason=error.message)
        case CertificateExpired():
            return _connection_fails("certificate_expired", reason=error.message)
        case CertificateRefused():
            return _connection_fails("certificate", reason=error.message)
        case NotHttps():
            return _connection_fails("address_not_https")
        case ForbiddenHost():
            return _connection_fails("address_forbidden", reason=error.message)
        case InvalidSite():
            return _connection_fails("address_unreadable", reason=error.message)
        case RouteUnknown():
            return PausePartner(problem("moved", reason=_reason(error), said=said), error.seconds)
        case WrongRoute() if error.status == 404 or (error.status or 0) < 400:
            return _connection_fails("not_connectwise", reason=_reason(error), said=said)
        case WrongRoute():
            return _connection_fails("wrong_route", reason=_reason(error), said=said)
        case UnknownCompany():
            return _connection_fails("unknown_company", reason=error.message)
        # --- what only we can mend
        case SealKeyMissing():
            return _our_fault("seal_key_missing", said=None)
        case ClientIdRefused():
            return _our_fault("client_id", said=said)
        case VersionRefused():
            return _our_fault("api_version", said=said)
        case RequestRefused():
            return _our_fault("request_refused", reason=_reason(error), said=said)
        # --- ConnectWise is busy, or cannot be reached
        case RateLimited():
            asked_for = error.retry_after
            seconds = retry.RATE_LIMIT_PAUSE.total_seconds() if asked_for is None else max(1.0, asked_for)
            return PausePartner(problem("rate_limited", said=said), seconds)
        case HostUnknown():
            return RetryLine(problem("host_unknown", reason=error.message), wait)
        case NotConnectWise():
            return RetryLine(problem("not_connectwise", reason=error.message), wait)
        case GatewayRefused():
            return _retry("gateway_refused", error, wait, reason=_reason(error))
        case Unreachable():
            return _retry("unreachable", error, wait, reason=_reason(error))
        case ServerTrouble():
            return _retry("server_trouble", error, wait, reason=_reason(error))
        # --- the record
        case RecordBusy():
            return _retry("record_busy", error, wait)
        case RecordNotFound():
            return FailLine(problem("record_not_found", said=said))
        case QuantityNotKept():
            return FailLine(problem("not_kept", wanted=error.wanted, got=error.got))
        case RecordRefused() | ConnectWiseError():
            return FailLine(problem("record_refused", said=said))
        # --- the worker itself
        case NotStarted():
            return RetryLine(problem("unexpected"), 0.0)
        case _ if attempts + 1 < retry.UNEXPECTED_TRIES:
            return RetryLine(problem("unexpected"), wait)
        case _:
            return FailLine(problem("unexpected"))


def _keys_fail(code: str, *, said: str | None = None, **fields: object) -> FailPartner:
    return FailPartner(problem(code, said=said, **fields), "credentials")


def _connection_fails(code: str, *, said: str | None = None, **fields: object) -> FailPartner:
    return FailPartner(problem(code, said=said, **fields), "connection")


def _our_fault(code: str, *, said: str | None, **fields: object) -> PausePartner:
    return PausePartner(problem(code, said=said, **fields), retry.OUR_FAULT_PAUSE.total_seconds())


def _retry(code: str, error: ConnectWiseError, wait: float, **fields: object) -> RetryLine:
    """Retry after the back-off, or later if the server asks for that."""
    return RetryLine(problem(code, said=error.said, **fields), max(wait, error.retry_after or 0.0))


def _reason(error: ConnectWiseError) -> str:
    """Return the reason in our words: the server's own stand beside them."""
    return f"HTTP {error.status}" if error.said else error.message
