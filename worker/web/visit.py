"""One request of a visitor, as the code of a page sees it, and the answers that it can give."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from messages.values import Id
from worker.web import tokens
from worker.web.navigation import LINKS, area_of
from worker.web.rendering import render
from worker.web.rights import Right, User
from worker.web.site import Site

_PARTNER: TypeAdapter[str] = TypeAdapter(Id)


class Refusal(Exception):
    """The request is refused: an HTTP status, and what the visitor reads: a title, and what to do."""

    def __init__(self, status: int, title: str, advice: str = "") -> None:
        super().__init__(title)
        self.status, self.title, self.advice = status, title, advice


@dataclass
class Visit:
    """A request that the table of rights has let through; `user` is None on pages for the public."""

    site: Site
    request: Request
    user: User | None
    token: str = dataclasses.field(repr=False)
    form: FormData = dataclasses.field(repr=False)

    @property
    def is_partial(self) -> bool:
        """True if the script of a page asks for a part of it."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def by(self) -> str:
        """The user's name, for `requested_by`."""
        return self.user.name if self.user else ""

    @property
    def partner(self) -> str:
        """The partner that is coordinated. Raises Refusal if it is another's, or none is named."""
        asked = self.asked("partner")
        own = self.user.partner if self.user else None
        if own is not None and asked not in {"", own}:
            raise Refusal(403, "This partner is not yours", "Sign in as its coordinator.")
        if not (own or asked):
            raise Refusal(404, "No partner is named", "Choose one on the first page.")
        if own is None and not _is_identifier(asked):
            raise Refusal(404, "There is no such partner", "Choose one on the first page.")
        return own or asked

    def asked(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return _storable(self.request.query_params.get(name, default))

    def number(self, name: str) -> int | None:
        """A parameter of the address that is a whole number of at most nine digits; None if it is none."""
        text = self.asked(name)
        return int(text) if re.fullmatch("[0-9]{1,9}", text) else None

    def field(self, name: str, default: str = "") -> str:
        """A text field of the form."""
        value = self.form.get(name, default)
        return _storable(value) if isinstance(value, str) else default

    def fields(self, name: str) -> list[str]:
        """All text fields of the form with this name."""
        return [_storable(value) for value in self.form.getlist(name) if isinstance(value, str)]

    def file(self, name: str) -> UploadFile | None:
        """A file of the form, None if none was chosen."""
        value = self.form.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    def may(self, right: Right) -> bool:
        """True if the visitor has this right."""
        return self.user is not None and self.user.may(right)

    def url(self, path: str, /, **query: object) -> str:
        """The address of a page; the local user's names the partner, which others' pages know."""
        given = {name: value for name, value in query.items() if value not in {None, ""}}
        if path.startswith("/portal") and self.user is not None and self.user.is_local:
            given.setdefault("partner", self.asked("partner"))
        return f"{path}?{urlencode(given)}" if given else path

    def page(self, template: str, status: int = 200, /, **given: Any) -> Response:  # noqa: ANN401 - what it shows
        """A page, or a part of one, made of a template."""
        return HTMLResponse(render(template, self._common() | given), status)

    def go(self, path: str, /, **query: object) -> Response:
        """Send the visitor to a page by GET, so that loading it anew repeats nothing."""
        target = self.url(path, **query)
        if self.is_partial:
            return Response(status_code=200, headers={"HX-Redirect": target})
        return RedirectResponse(target, 303)

    def _common(self) -> dict[str, Any]:
        return {
            "visit": self,
            "user": self.user,
            "Right": Right,
            "csrf": self._csrf,
            "once": _once,
            "path": self.request.url.path,
            "area": area_of(self.request.url.path),
            "links": LINKS,
            "url": self.url,
        }

    def _csrf(self) -> Markup:
        """The field that every form carries."""
        return Markup('<input type="hidden" name="form_token" value="{}">').format(tokens.form_token(self.token))


def _is_identifier(text: str) -> bool:
    try:
        _PARTNER.validate_python(text)
    except ValidationError:
        return False
    return True


def _once() -> Markup:
    """The field of a form that asks for one thing, however often it is sent."""
    return Markup('<input type="hidden" name="form_id" value="{}">').format(uuid4())


def _storable(text: str) -> str:
    """The text without NUL, which no text of PostgreSQL can hold."""
    return text.replace("\0", "")
