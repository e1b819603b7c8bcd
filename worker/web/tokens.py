"""The token of a visitor's cookie, and what is derived from it: neither derivation leads back to the token."""

import hmac
import re
from hashlib import sha256
from secrets import token_urlsafe

from starlette.requests import Request
from starlette.responses import Response

LONGEST = 24 * 3600
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def fresh() -> str:
    """A new token, 256 random bits."""
    return token_urlsafe(32)


def session_id(token: str) -> str:
    """The name of the session in the store: who reads the store cannot take the session over."""
    return sha256(f"session {token}".encode()).hexdigest()


def form_token(token: str) -> str:
    """The token that every form of this visitor carries."""
    return sha256(f"form {token}".encode()).hexdigest()


def is_form_token(given: str, token: str) -> bool:
    """True if a form carries the token of this visitor."""
    return hmac.compare_digest(given.encode(), form_token(token).encode())


def of_request(request: Request, *, secure: bool) -> str | None:
    """The token of the request's cookie, None if it has none that we made."""
    given = request.cookies.get(_name(secure=secure), "")
    return given if _TOKEN.fullmatch(given) else None


def put(response: Response, token: str, *, secure: bool) -> None:
    """Give the visitor this token."""
    response.set_cookie(
        _name(secure=secure), token, max_age=LONGEST, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _name(*, secure: bool) -> str:
    # Browsers take a cookie with this prefix from the very host only, and only by TLS.
    return "__Host-phin" if secure else "phin"
