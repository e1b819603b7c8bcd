"""The errors that ConnectWise can cause: one class per remedy. `classify.py` makes them from answers."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MAX_MESSAGE = 500


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


class Uncertain(ConnectWiseError):
    """`sent`: the request may have been received and applied. False means that it certainly was not."""

    def __init__(
        self, message: str, *, sent: bool, status: int | None = None, code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after)
        self.sent = sent


class Unreachable(Uncertain):
    """The server cannot be spoken to (DNS, connect, TLS, timeout, gateway, HTML page): wait, or its admin acts."""


class HostUnknown(Unreachable):
    """The name server knows no such host: the partner corrects the URL."""


class NotConnectWise(Unreachable):
    """Something else answers at the URL, or in ConnectWise's place for a while: the partner checks the URL."""


class GatewayRefused(Unreachable):
    """Something on the way lets no such request pass (405, 407, 413, 451 …), whatever it is about: its admin does."""


class ServerTrouble(Uncertain):
    """The server was reached but failed, hung up, or answered what cannot be used: try again later."""


class RateLimited(ConnectWiseError):
    """Too many requests (429): wait `retry_after` seconds, at most 15 minutes."""


class BadCredentials(ConnectWiseError):
    """The keys are not accepted (401): the partner makes new keys."""


class MissingRight(ConnectWiseError):
    """The keys are good but the security role lacks a right (403): the partner's ConnectWise admin grants it."""


class ClientIdRefused(ConnectWiseError):
    """The clientId header is missing or unknown: ours to mend, no partner can."""


class RequestRefused(ConnectWiseError):
    """The form of our request is refused (406, 411, 415, a bad condition …), not what it is about: ours to mend."""


class VersionRefused(RequestRefused):
    """The API version that was asked for is not served: ask for one of `named`, else ours to mend.

    `named` are the versions that the server names instead or besides, such as "2024.3", in no order.
    """

    named: tuple[str, ...] = ()


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
    """ConnectWise refuses the change (400 InvalidObject, 422 …): someone mends the record."""

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


class RecordBusy(ConnectWiseError):
    """Somebody, or something, holds the record for the moment (409, 423, a deadlock …); nothing changed: try again."""


class QuestionRefused(ServerTrouble):
    """ConnectWise refuses a read (400, 409 …): no record is to blame for that, so try again later."""

    def __init__(self, refused: RecordRefused) -> None:
        super().__init__(
            refused.message, sent=True, status=refused.status, code=refused.code, retry_after=refused.retry_after
        )
        self.said = refused.said


class QuantityNotKept(ConnectWiseError):
    """A 2xx that came back with another quantity than was sent: someone looks at the addition in ConnectWise."""

    def __init__(self, wanted: float, got: float | None) -> None:
        returned = "none" if got is None else f"{got:.15g}"
        super().__init__(f"ConnectWise accepted the quantity {wanted:.15g} but returned {returned}.", status=200)
        self.wanted = wanted
        self.got = got


class InvalidSite(ConnectWiseError):
    """The ConnectWise URL that was entered is none: the coordinator enters it again, as the message says."""


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
