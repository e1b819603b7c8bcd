"""The policy for errors: when to try again, whom each concerns, what the coordinator reads. Pure.

The classes of errors are cwclient's, one per remedy; chance and time are passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
from store.leases import Health
from worker.rules.blame import OF_NO_RECORD, RecordDenied, Unconfirmed
from worker.rules.problems import AGREEMENT_EDIT, MISSING, problem

RETRY_FIRST = 2.0
RETRY_MOST = 300.0
UNREACHABLE_IN_A_ROW = 3
UNEXPECTED_TRIES = 3
OURS_PAUSE = timedelta(minutes=5)
"""The pause between two attempts at a ConnectWise that refuses what only we can mend."""
LAST_TRY = 10.0
"""Seconds that a call gets beyond the time at which its line is given up."""
RATE_LIMIT_PAUSE = timedelta(seconds=30)
RATE_LIMITED_FOR = timedelta(hours=4)
"""The time for which a server may answer nothing but 429 before its lines are given up."""
REPORT_EVERY = timedelta(minutes=5)


class RestrictedAgreement(Exception):
    """This agreement is refused although the rights as a whole are granted: its type is not allowed."""


class RightRefused(Exception):
    """A right is missing for the whole connection: a key of problems.MISSING. `said` are ConnectWise's words."""

    def __init__(self, right: str, said: str = "") -> None:
        super().__init__(right)
        self.right, self.said = right, said


class NotStarted(Exception):
    """The PATCH was not sent: too little time was left of the lease, or since the ledger row was opened."""


class Moved(NotStarted):
    """The PATCH reached nothing, as the codebase or the API version has changed since the read: decide anew."""


class RouteUnknown(WrongRoute):
    """The codebase has moved, perhaps; it was looked up just now, and is again in so many seconds."""

    def __init__(self, met: WrongRoute, seconds: float) -> None:
        super().__init__(met.message, status=met.status, code=met.code)
        self.said, self.seconds = met.said, seconds


class KeyUnreadable(Exception):
    """The sealed private key does not open for this connection: it is damaged."""


class KeyMismatch(KeyUnreadable):
    """The sealed private key belongs to another connection; `fields` are what differs, as people know it."""

    def __init__(self, message: str, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = fields


class SealKeyUnknown(KeyUnreadable):
    """The private key is sealed with a key that is not, or not any more, in SEAL_KEYS."""


@dataclass(frozen=True)
class Failed:
    """The line is answered `failed`; trying again would not help."""

    problem: Problem


@dataclass(frozen=True)
class AllFailed:
    """All of the partner's lines fail: each would meet the same. `reason` is the dead letters' reason."""

    problem: Problem
    reason: str


@dataclass(frozen=True)
class Later:
    """Try this line again after `seconds`."""

    problem: Problem
    seconds: float


@dataclass(frozen=True)
class Paused:
    """Leave the partner alone for `seconds`; no line's attempt is counted."""

    problem: Problem
    seconds: float


ErrorOutcome = Failed | AllFailed | Later | Paused

PASSING = (Later, Paused)
"""The verdicts after which the same is tried again."""


def classify(error: BaseException, *, attempts: int, chance: float, longest: float = RETRY_MOST) -> ErrorOutcome:
    """The outcome table: what follows from this error at this many earlier attempts.

    `chance` is in 0 … 1; `longest`: the seconds that a back-off may last.
    """
    wait = backoff(attempts, chance, longest)
    said = error.said if isinstance(error, ConnectWiseError) else None
    match error:
        case RestrictedAgreement():
            return Failed(problem("restricted_agreement"))
        case RecordDenied():
            return Failed(problem("record_denied", reason=f"HTTP {error.met.status}", said=error.met.said))
        case Unconfirmed():
            reason = _reason(error.met)
            if attempts + 1 >= UNEXPECTED_TRIES and not isinstance(error.met, OF_NO_RECORD):
                return Failed(problem("record_denied", reason=reason, said=error.met.said))
            return Later(problem("server_trouble", reason=reason, said=error.met.said), wait)
        case RightRefused():
            return AllFailed(problem(MISSING[error.right], said=error.said), "credentials")
        case SealKeyUnknown():
            return AllFailed(problem("seal_key_unknown"), "credentials")
        case KeyMismatch():
            return AllFailed(problem("key_mismatch", fields=error.fields), "credentials")
        case KeyUnreadable():
            return AllFailed(problem("key_unreadable"), "credentials")
        case NotStarted():
            return Later(problem("unexpected"), 0.0)
        case BadCredentials():
            return AllFailed(problem("bad_credentials", said=said), "credentials")
        case ClientIdRefused():
            return Paused(problem("client_id", said=said), OURS_PAUSE.total_seconds())
        case VersionRefused():
            return Paused(problem("api_version", said=said), OURS_PAUSE.total_seconds())
        case RequestRefused():
            return Paused(problem("request_refused", reason=_reason(error), said=said), OURS_PAUSE.total_seconds())
        case CaBundleUnreadable():
            return AllFailed(problem("ca_bundle_unreadable"), "connection")
        case CertificateUntrusted():
            return AllFailed(problem("certificate_untrusted", reason=error.message), "connection")
        case CertificateNameMismatch():
            return AllFailed(problem("certificate_name", reason=error.message), "connection")
        case CertificateExpired():
            return AllFailed(problem("certificate_expired", reason=error.message), "connection")
        case CertificateRefused():
            return AllFailed(problem("certificate", reason=error.message), "connection")
        case NotHttps():
            return AllFailed(problem("address_not_https"), "connection")
        case ForbiddenHost():
            return AllFailed(problem("address_forbidden", reason=error.message), "connection")
        case InvalidSite():
            return AllFailed(problem("address_unreadable", reason=error.message), "connection")
        case RouteUnknown():
            return Paused(problem("moved", reason=_reason(error), said=said), error.seconds)
        case WrongRoute() if error.status == 404 or (error.status or 0) < 400:
            return AllFailed(problem("not_connectwise", reason=_reason(error), said=said), "connection")
        case WrongRoute():
            return AllFailed(problem("wrong_route", reason=_reason(error), said=said), "connection")
        case UnknownCompany():
            return AllFailed(problem("unknown_company", reason=error.message), "connection")
        case RateLimited():
            return Paused(problem("rate_limited", said=said), _pause_seconds(error.retry_after))
        case HostUnknown():
            return Later(problem("host_unknown", reason=error.message), wait)
        case NotConnectWise():
            return Later(problem("not_connectwise", reason=error.message), wait)
        case GatewayRefused():
            seconds = _at_least(error.retry_after, wait)
            return Later(problem("gateway_refused", reason=_reason(error), said=said), seconds)
        case Unreachable():
            seconds = _at_least(error.retry_after, wait)
            return Later(problem("unreachable", reason=_reason(error), said=said), seconds)
        case MissingRight():
            return AllFailed(problem(MISSING[AGREEMENT_EDIT], said=said), "credentials")
        case RecordNotFound():
            return Failed(problem("record_not_found", said=said))
        case RecordBusy():
            return Later(problem("record_busy", said=said), _at_least(error.retry_after, wait))
        case QuantityNotKept():
            return Failed(problem("not_kept", wanted=error.wanted, got=error.got))
        case ServerTrouble():
            seconds = _at_least(error.retry_after, wait)
            return Later(problem("server_trouble", reason=_reason(error), said=said), seconds)
        case RecordRefused() | ConnectWiseError():
            return Failed(problem("record_refused", said=said))
        case _:
            later = Later(problem("unexpected"), wait)
            return later if attempts + 1 < UNEXPECTED_TRIES else Failed(later.problem)


def _reason(error: ConnectWiseError) -> str:
    """Return the reason in our words: the server's own stand beside them."""
    return f"HTTP {error.status}" if error.said else error.message


def _pause_seconds(retry_after: float | None) -> float:
    return RATE_LIMIT_PAUSE.total_seconds() if retry_after is None else max(1.0, retry_after)


def _at_least(asked_for: float | None, seconds: float) -> float:
    return max(seconds, asked_for or 0.0)


def backoff(attempts: int, chance: float, longest: float = RETRY_MOST) -> float:
    """Seconds to the next attempt: full jitter under a ceiling that doubles from 2 s to `longest`; at least 0.5."""
    ceiling = min(longest, RETRY_FIRST * 2.0 ** min(attempts, 16))
    return max(0.5, chance * ceiling)


def seconds_for_call(failing_since: Sequence[datetime | None], now: datetime, retry_for: timedelta) -> float | None:
    """Seconds that a call may take: until what waits for it is given up, and LAST_TRY more. None = any."""
    since = min((at for at in failing_since if at is not None), default=None)
    return None if since is None else max(0.0, (since + retry_for - now).total_seconds()) + LAST_TRY


def longest_wait(retry_for: timedelta) -> float:
    """Seconds between two attempts at most: a tenth of the time after which a line is given up, at most 5 min.

    So what is given up is late by no more than that, whenever it began to fail.
    """
    return min(RETRY_MOST, max(RETRY_FIRST, retry_for.total_seconds() / 10))


def given_up(first_failed_at: datetime | None, now: datetime, retry_for: timedelta) -> bool:
    """True if work that has failed since then is to be given up."""
    return first_failed_at is not None and now - first_failed_at >= retry_for


def health_after(
    health: Health,
    error: BaseException | None,
    verdict: ErrorOutcome | None,
    now: datetime,
    *,
    chance: float,
    longest: float = RETRY_MOST,
) -> Health:
    """Return the health of a partner's ConnectWise after a call.

    Three failures to reach it in a row pause the partner.
    """
    if isinstance(error, NotStarted):
        return health
    if isinstance(verdict, Paused):
        until = now + timedelta(seconds=verdict.seconds)
        if health.paused_until is not None and health.paused_until > until:
            return health
        since = (health.limited_since or now) if isinstance(error, RateLimited) else None
        failed_runs = health.failed_runs
        return Health(until, verdict.problem.code, limited_since=since, failed_runs=failed_runs)
    if not isinstance(error, Unreachable):
        return replace(health, unreachable_count=0, unreachable_since=None, limited_since=None)
    count = health.unreachable_count + 1
    failed = replace(health, unreachable_count=count, unreachable_since=health.unreachable_since or now)
    if count < UNREACHABLE_IN_A_ROW:
        return failed
    pause = backoff(count - UNREACHABLE_IN_A_ROW, chance, longest)
    until = now + timedelta(seconds=_at_least(error.retry_after, pause))
    if health.paused_until is not None and health.paused_until > until:
        return failed
    return replace(failed, paused_until=until, paused_why="unreachable")
