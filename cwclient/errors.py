"""What can go wrong with ConnectWise: one class per remedy, made from an answer by `from_response()` alone.

Decide on the status first, then on the text, and expect anything as a body (connectwise-api.md 3).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cwclient import jsons

MAX_MESSAGE = 500
MAX_RETRY_AFTER = 15 * 60.0
MAX_FIELD_ERRORS = 20


def clean(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` on one line, without control or invisible characters and without `secrets`, at most 500 characters."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    # Taking millions of characters apart would take minutes; a secret that the cut halves is gone by now.
    text = text[: 20 * MAX_MESSAGE]
    kinds = ((c, unicodedata.category(c)) for c in text)
    visible = "".join(" " if kind == "Cc" else c for c, kind in kinds if kind == "Cc" or not kind.startswith("C"))
    return " ".join(visible.split())[:MAX_MESSAGE]


class ConnectWiseError(Exception):
    """Any failure of this package. `status` is HTTP's (None without an answer), `retry_after` is in seconds.

    `said` are the server's own words, "" if it said none that can be read.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", retry_after: float | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = clean(message)
        self.retry_after = retry_after
        self.said = ""
        super().__init__(self.message)


class _Uncertain(ConnectWiseError):
    """`sent`: the request may have been received and applied. False means that it certainly was not."""

    def __init__(
        self, message: str, *, sent: bool, status: int | None = None, code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after)
        self.sent = sent


class Unreachable(_Uncertain):
    """The server cannot be spoken to (DNS, connect, TLS, timeout, gateway, HTML page): wait, or its admin acts."""


class HostUnknown(Unreachable):
    """The name server knows no such host: the partner corrects the URL."""


class NotConnectWise(Unreachable):
    """Something else answers at the URL, or in ConnectWise's place for a while: the partner checks the URL."""


class ServerTrouble(_Uncertain):
    """The server was reached but failed, hung up, or answered what cannot be used: try again later."""


class RateLimited(ConnectWiseError):
    """Too many requests (429): wait `retry_after` seconds, at most 15 minutes."""


class BadCredentials(ConnectWiseError):
    """The keys are not accepted (401): the partner makes new keys."""


class MissingRight(ConnectWiseError):
    """The keys are good but the security role lacks a right (403): the partner's ConnectWise admin grants it."""


class ClientIdRefused(ConnectWiseError):
    """The clientId header is missing or unknown: ours to mend, no partner can."""


class WrongRoute(ConnectWiseError):
    """The base URL leads nowhere (moved codebase, wrong company or host): discover it again, then check the entry."""


class UnknownCompany(ConnectWiseError):
    """The site has no company of this identifier: the partner corrects the Company ID (it may be case-sensitive)."""


class RecordNotFound(ConnectWiseError):
    """The record does not exist (404): map another one. It may also be a moved codebase or, on the cloud, bad keys."""


@dataclass(frozen=True)
class FieldError:
    """One entry of a refusal's `errors`: which field ("" if not named), and what is wrong with it."""

    field: str
    message: str


class RecordRefused(ConnectWiseError):
    """ConnectWise refuses the change or the question (400 InvalidObject, 405, 409, 415 …): someone mends the record."""

    def __init__(
        self,
        message: str,
        *,
        errors: tuple[FieldError, ...] = (),
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after)
        self.errors = errors


class QuantityNotKept(ConnectWiseError):
    """A 2xx that came back with another quantity than was sent: someone looks at the addition in ConnectWise."""

    def __init__(self, wanted: float, got: float | None) -> None:
        returned = "none" if got is None else f"{got:.15g}"
        super().__init__(f"ConnectWise accepted the quantity {wanted:.15g} but returned {returned}.", status=200)
        self.wanted = wanted
        self.got = got


class InvalidSite(ConnectWiseError):
    """What was entered as the ConnectWise URL is none: the coordinator enters it again, as the message says."""


class ForbiddenHost(ConnectWiseError):
    """The host must not be spoken to: enter another, or the operator lists it in ALLOW_PRIVATE_HOSTS."""


class NotHttps(ForbiddenHost):
    """A URL with plain http, over which no keys are sent: the partner enters https."""


class CertificateRefused(ConnectWiseError):
    """The server's certificate cannot be verified, for a reason that has no class of its own: its admin mends it."""


class CertificateUntrusted(CertificateRefused):
    """No known authority has issued it: its admin installs the full chain, or the partner gives us the CA bundle."""


class CertificateNameMismatch(CertificateRefused):
    """It was issued for other names: the partner enters one of those, or its admin has one issued for this name."""


class CertificateExpired(CertificateRefused):
    """It is not valid today: its admin renews it."""


class CaBundleUnreadable(CertificateRefused):
    """The partner's CA bundle is no PEM text of certificates: the partner gives another."""


@dataclass(frozen=True)
class _ErrorBody:
    """ErrorResponseMessage of connectwise-openapi.json, or what stood in its place."""

    code: str = ""
    message: str = ""
    errors: tuple[FieldError, ...] = ()
    is_json: bool = False
    is_html: bool = False


def _read(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> _ErrorBody:
    text = body.decode("utf-8-sig", errors="replace")
    try:
        value = jsons.loads(text)
    except ValueError:
        is_html = "html" in headers.get("content-type", "").lower() or text.lstrip().startswith("<")
        return _ErrorBody(is_html=is_html, message="" if is_html else clean(text, secrets))
    if not isinstance(value, dict):
        return _ErrorBody(message=clean(text, secrets))
    entries = value.get("errors")
    entries = entries[:MAX_FIELD_ERRORS] if isinstance(entries, list) else []
    return _ErrorBody(
        code=clean(str(value.get("code") or ""), secrets),
        # An older text of the 429 has the key `error` (connectwise-api.md 3.2).
        message=clean(str(value.get("message") or value.get("error") or ""), secrets),
        errors=tuple(
            FieldError(clean(str(e.get("field") or ""), secrets), clean(str(e.get("message") or ""), secrets))
            for e in entries
            if isinstance(e, dict)
        ),
        is_json=True,
    )


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from the `Retry-After` header, given there as seconds or as an HTTP date, 0 … 900; None if unusable."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str] = (), now: datetime | None = None
) -> ConnectWiseError:
    """Make the error that says what to do about an answer that is no success, or a 2xx whose body is not JSON.

    `secrets` are blotted out wherever the server repeats them. `now` (default: the clock) dates a `Retry-After`.
    Sources: connectwise-api.md 1.1, 1.3, 2.2, 3.2, 7.1, 8.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    said = _read(headers, body, secrets)
    error = _error(status, headers, said, body, secrets, now or datetime.now(UTC))
    error.said = " ".join(dict.fromkeys(filter(None, (said.message, *(one.message for one in said.errors)))))
    return error


def _error(
    status: int, headers: Mapping[str, str], said: _ErrorBody, body: bytes, secrets: Sequence[str], now: datetime
) -> ConnectWiseError:
    kind = _kind(status, said, body)
    retry_after = _retry_after(headers, now)
    if status < 300:
        message = f"HTTP {status} with a body that is not JSON"
    elif status < 400:
        target = clean(headers.get("location", "nowhere").partition("?")[0], secrets)
        message = f"HTTP {status}: the server redirects to {target}"
    else:
        message = said.message or f"HTTP {status}" + (" with an HTML page" if said.is_html else "")
    if issubclass(kind, _Uncertain):
        return kind(message, sent=True, status=status, code=said.code, retry_after=retry_after)
    if issubclass(kind, RecordRefused):
        return kind(message, errors=said.errors, status=status, code=said.code, retry_after=retry_after)
    return kind(message, status=status, code=said.code, retry_after=retry_after)


_BY_STATUS: dict[int, type[ConnectWiseError]] = {
    401: BadCredentials, 403: MissingRight, 404: RecordNotFound, 408: Unreachable, 429: RateLimited,
    502: Unreachable, 503: Unreachable, 504: Unreachable,
}  # fmt: skip
#: An HTML page is not the API's voice: a 404 is the web server's, a 403 a firewall's, neither speaks of a record.
_HTML_BY_STATUS: dict[int, type[ConnectWiseError]] = {
    401: BadCredentials, 404: WrongRoute, 429: RateLimited,
}  # fmt: skip
#: For texts whose status is not established or misleads.
_BY_TEXT: dict[str, type[ConnectWiseError]] = {
    "cannot route": WrongRoute,
    "ssl is required": WrongRoute,
    "security permission": MissingRight,
    "usernotauthenticated": BadCredentials,
    "incorrect public/private key": BadCredentials,
}


def _kind(status: int, said: _ErrorBody, body: bytes) -> type[ConnectWiseError]:
    if 300 <= status < 400:
        return WrongRoute
    if said.is_html:
        return _HTML_BY_STATUS.get(status, Unreachable)
    if status < 300:
        return ServerTrouble
    if status >= 500:
        return _BY_STATUS.get(status, ServerTrouble if said.is_json else Unreachable)
    # A refusal of a record may name a field of that name, a custom one.
    if status != 429 and said.code.lower() != "invalidobject" and b"clientid" in body.lower():
        return ClientIdRefused
    by_text = (kind for text, kind in _BY_TEXT.items() if status != 429 and text in said.message.lower())
    return next(by_text, _BY_STATUS.get(status, RecordRefused))
