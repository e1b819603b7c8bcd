"""Makes of an answer that is no success the error that says what to do about it.

Decide on the status first, then on the text, and expect anything as a body (connectwise-api.md 3).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cwclient import jsons
from cwclient.errors import (
    BadCredentials,
    ClientIdRefused,
    ConnectWiseError,
    FieldError,
    GatewayRefused,
    MissingRight,
    RateLimited,
    RecordBusy,
    RecordNotFound,
    RecordRefused,
    RequestRefused,
    ServerTrouble,
    Uncertain,
    Unreachable,
    VersionRefused,
    WrongRoute,
    clean,
)

MAX_RETRY_AFTER = 15 * 60.0
MAX_FIELD_ERRORS = 20


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
    # Web frameworks and gateways answer in forms of their own: within `error`, or as `detail` (RFC 9457).
    value = value["error"] if isinstance(value.get("error"), dict) else value
    said = next(filter(None, map(value.get, ("message", "error", "detail", "title"))), "")
    entries = value.get("errors")
    entries = entries[:MAX_FIELD_ERRORS] if isinstance(entries, list) else []
    return _ErrorBody(
        code=clean(str(value.get("code") or ""), secrets),
        # An older text of the 429 has the key `error` (connectwise-api.md 3.2).
        message=clean(str(said), secrets),
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
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None  # whatever the parser stumbles over


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
    if isinstance(error, VersionRefused):
        about = [value for name, value in headers.items() if _VERSION_HEADER.fullmatch(name)]
        error.named = tuple(dict.fromkeys(_VERSION.findall(" ".join((error.said, *about)))))
    return error


def _error(
    status: int, headers: Mapping[str, str], said: _ErrorBody, body: bytes, secrets: Sequence[str], now: datetime
) -> ConnectWiseError:
    kind = _kind(status, said, body)
    retry_after = _retry_after(headers, now)
    if status < 300:
        message = f"HTTP {status} with a body that is not JSON"
    elif status in _REDIRECTS:
        target = clean(headers.get("location", "nowhere").partition("?")[0], secrets)
        message = f"HTTP {status}: the server redirects to {target}"
    else:
        message = said.message or f"HTTP {status}" + (" with an HTML page" if said.is_html else "")
    if issubclass(kind, Uncertain):
        # Who lets no request pass has passed none on.
        sent = not issubclass(kind, GatewayRefused)
        return kind(message, sent=sent, status=status, code=said.code, retry_after=retry_after)
    if issubclass(kind, RecordRefused):
        return kind(message, errors=said.errors, status=status, code=said.code, retry_after=retry_after)
    return kind(message, status=status, code=said.code, retry_after=retry_after)


#: Of a 3xx only these lead elsewhere; 304 and the like answer nothing that was asked (RFC 9110 15.4).
_REDIRECTS = {300, 301, 302, 303, 307, 308}
#: The form of the request, which is the same whatever record it is about (RFC 9110 15.5, RFC 6585).
_OUR_FORM = (406, 411, 412, 414, 415, 416, 417, 428, 431)
#: All other 4xx are no answers of ConnectWise's (connectwise-api.md 3.2), but of something on the way to it.
_BY_STATUS: dict[int, type[ConnectWiseError]] = {
    **dict.fromkeys(range(400, 500), GatewayRefused), **dict.fromkeys(_OUR_FORM, RequestRefused),
    400: RecordRefused, 401: BadCredentials, 403: MissingRight, 404: RecordNotFound, 408: Unreachable,
    409: RecordBusy, 410: RecordNotFound, 422: RecordRefused, 423: RecordBusy, 425: Unreachable,
    429: RateLimited, 502: Unreachable, 503: Unreachable, 504: Unreachable,
}  # fmt: skip
#: An HTML page is not the API's voice: a 404 is the web server's, a 403 or 406 a firewall's, none speaks of a record.
_HTML_BY_STATUS: dict[int, type[ConnectWiseError]] = {
    **dict.fromkeys((402, 405, 406, 407, 413, 421, 426, 451), GatewayRefused),
    401: BadCredentials, 404: WrongRoute, 429: RateLimited,
}  # fmt: skip
#: For texts whose status is not established or misleads.
_BY_TEXT: dict[str, type[ConnectWiseError]] = {
    "cannot route": WrongRoute,
    "ssl is required": WrongRoute,
    "security permission": MissingRight,
    "usernotauthenticated": BadCredentials,
    "incorrect public/private key": BadCredentials,
    "apifindcondition": RequestRefused,
}
#: A refusal that passes: of a database that had to choose (SQL Server's words), or of a record that is in use.
_BUSY = re.compile(
    "deadlock|lock request time[ -]?out|timeout (expired|has occur)|wait operation timed out|concurren|update conflict"
    "|another (member|person|process|session|transaction|user)|(someone|somebody) else"
    "|locked by|being (changed|edited|modified|updated|used) by|(?<!be )(changed|modified|updated) since"
    "|(record|object|row|agreement|addition) is (currently |being )?(in use|locked|used|edited|updated|changed)",
    re.IGNORECASE,
)
# The name of a record says nothing of what is wrong with it.
_QUOTED = re.compile(r"""\s*(?<!\w)(?:'[^']*'|"[^"]*"|“[^”]*”)(?!\w)""")
_VERSION = re.compile(r"(?<![\d.])20\d\d\.\d{1,2}(?!\.?\d)", re.ASCII)
#: `api-current-version` is known (connectwise-api.md 2.1); Microsoft's web framework has others of the kind.
_VERSION_HEADER = re.compile("api-([a-z]+-)?versions?")
_OF_VERSION = re.compile(r"api[ -]?version", re.IGNORECASE)


def _kind(status: int, said: _ErrorBody, body: bytes) -> type[ConnectWiseError]:
    if 300 <= status < 400:
        return WrongRoute if status in _REDIRECTS else Unreachable
    if said.is_html:
        return _HTML_BY_STATUS.get(status, Unreachable)
    if status < 300:
        return ServerTrouble
    if status >= 500:
        return _BY_STATUS.get(status, ServerTrouble if said.is_json else Unreachable)
    if status == 429:
        return RateLimited
    of_record = said.code.lower() == "invalidobject"
    if _is_of_version(said, of_record=of_record):
        return VersionRefused
    # A refusal of a record may name a field of that name, a custom one.
    if not of_record and b"clientid" in body.lower():
        return ClientIdRefused
    words = f"{said.code} {said.message}".lower()
    by_text = (kind for text, kind in _BY_TEXT.items() if text in words)
    kind = next(by_text, _BY_STATUS[status])
    return RecordBusy if kind is RecordRefused and _BUSY.search(_QUOTED.sub("", _all_words(said))) else kind


def _is_of_version(said: _ErrorBody, *, of_record: bool) -> bool:
    words = _all_words(said)
    if _OF_VERSION.search(words):
        return True
    return not of_record and bool(re.search(r"\bversion", words, re.IGNORECASE) and _VERSION.search(words))


def _all_words(said: _ErrorBody) -> str:
    return " ".join((said.code, said.message, *(one.message for one in said.errors)))
