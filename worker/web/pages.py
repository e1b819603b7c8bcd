"""A page is a row of a table: method, path, the right it asks for, and the code that answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from worker.web.rights import Right
from worker.web.visit import Visit

Method = Literal["GET", "POST"]

SMALL = 256 * 1024
"""Bytes of a form that carries no file."""


@dataclass(frozen=True)
class Page:
    """A page answers a method and path. GET changes nothing; POST is refused without the token of the form.

    `largest`: bytes that its body may have.
    """

    method: Method
    path: str
    right: Right
    answer: Callable[[Visit], Response]
    largest: int = SMALL
