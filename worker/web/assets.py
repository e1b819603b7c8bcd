"""Style, scripts and the icon: few small files, named by what they hold, so that browsers may keep them."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.responses import Response

TYPES = {
    "app.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

HTMX_VERSION = "4.0.1"
HTMX_SHA256 = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
"""Of `dist/htmx.min.js` in the package htmx.org of this version, which is under the Zero-Clause BSD licence."""

FOREVER = "public, max-age=31536000, immutable"


@cache
def content(name: str) -> bytes:
    """The bytes of a file."""
    return files("worker.web").joinpath("static", name).read_bytes()


@cache
def address(name: str) -> str:
    """The path of a file, which changes with its content."""
    return f"/static/{sha256(content(name)).hexdigest()[:16]}/{name}"


def answer(name: str) -> Response:
    """The file as a response."""
    return Response(content(name), media_type=TYPES[name], headers={"Cache-Control": FOREVER})
