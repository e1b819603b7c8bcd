"""The framing of answers by the letter of RFC 9112, where http.client is lax: it decides whose bytes are whose.

A mistake here gives one request the answer to another, so what is ambiguous ends the connection with an error.
"""

import re
from http.client import HTTPException, HTTPResponse

MAX_DIGITS = 18


class FramedResponse(HTTPResponse):
    """An answer whose end is certain. Raises HTTPException."""

    def begin(self) -> None:
        """Read the head of the final answer: any number of interim ones may come before it (RFC 9110 15.2)."""
        super().begin()
        while 100 <= self.status < 200:
            if self.status == 101:
                raise HTTPException("it switches to a protocol that was not asked for")
            self.headers = self.msg = None  # type: ignore[assignment] # as before the first
            super().begin()
        if self.headers.defects:
            # Whatever came after the line that is no header is lost, the length too.
            raise HTTPException("it has a line among its headers that is none")
        if self.status not in {204, 304}:
            self._frame(_listed(self, "transfer-encoding"), set(_listed(self, "content-length")))

    def _frame(self, codings: list[str], lengths: set[str]) -> None:
        if codings:
            if codings != ["chunked"]:
                raise HTTPException(f"its transfer coding {', '.join(codings)} was not asked for")
            self.chunked, self.length = True, None
            # Somebody on the way may have gone by the length (RFC 9112 6.3).
            self.will_close = self.will_close or bool(lengths)
        elif lengths:
            length = lengths.pop()
            if lengths or not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", length, re.ASCII):
                raise HTTPException("its Content-Length is no number, or several")
            self.length = int(length)


def _listed(answer: HTTPResponse, name: str) -> list[str]:
    """The members of a header that is a list, which may come in several lines (RFC 9110 5.6.1)."""
    values = answer.headers.get_all(name, [])
    return [part.strip().lower() for value in values for part in str(value).split(",")]
