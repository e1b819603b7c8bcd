"""The files that all pages load."""

from hashlib import sha256

from worker.web import assets

LARGEST = 100_000


def test_htmx_is_the_published_file() -> None:
    """The vendored script is the one that its decision names, and nothing else."""
    assert sha256(assets.content("htmx.min.js")).hexdigest() == assets.HTMX_SHA256
    assert assets.HTMX_VERSION.encode() in assets.content("htmx.min.js")


def test_scripts_and_style_are_small() -> None:
    """A page loads at most 100 kB of scripts and style, unpacked."""
    assert sum(len(assets.content(name)) for name in assets.TYPES if not name.endswith(".svg")) <= LARGEST
