"""One dead letter: error, headers, body with secrets masked, history; and its correction."""

import json
from hashlib import sha256
from itertools import accumulate
from typing import Any

from starlette.responses import Response

from store import Tx, dead_letter_queries, replays
from store import amqp_properties as amqp
from store.dead_letter_queries import StoredDeadLetter
from worker.bootstrap import key_ring
from worker.operations import conduct, corrections
from worker.operations.corrections import NotCorrected
from worker.operations.letter_bodies import body_lines, text_of
from worker.operations.preview import lines_overtaken
from worker.operations.questions import can_be_replayed, push_of
from worker.web.console import filters
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit

MAX_LINES, MAX_LINE, MAX_SHOWN = 3000, 20_000, 256 * 1024
"""Lines of a body, characters of a line, and of all lines that a page shows."""
MAX_CORRECTED = 1024 * 1024
"""Bytes of a body that a page shows for correction."""


def show(visit: Visit) -> Response:
    """One letter in full, and its neighbours in the list that it was opened from."""
    chosen = filters.read(visit.asked)
    with visit.site.database.begin() as tx:
        letter = _letter(tx, visit.asked("id"))
        originals = replays.originals(tx, letter.id)
        push = push_of(letter)
        overtaken = lines_overtaken(tx, push) if push is not None and letter.state == "open" else 0
        key = (letter.last_failed_at, letter.id)
        following = dead_letter_queries.newest(tx, chosen.letters, 1, before=key)
        preceding = dead_letter_queries.next_newer(tx, chosen.letters, key)
    keys = key_ring(visit.site.settings)
    lines = body_lines(letter, keys)
    shown = _first(lines)
    return visit.page(
        "console/letter.html",
        letter=letter,
        chosen=chosen,
        lines=shown,
        is_cut=shown != lines,
        properties=_properties(letter),
        headers=_shown(letter.properties.get("headers") or {}),
        originals=[(one, text_of(one.body) or f"{len(one.body):,} bytes") for one in originals],
        overtaken=overtaken,
        push=push,
        can_be_replayed=can_be_replayed(letter),
        why_not_corrected=corrections.why_not(letter),
        older=following[0].id if following else None,
        newer=preceding,
    )


def show_correction(visit: Visit) -> Response:
    """The form to correct the body with."""
    with visit.site.database.begin() as tx:
        letter = _letter(tx, visit.asked("id"))
    return _form(visit, letter, text_of(letter.body) or "", "", "")


def correct(visit: Visit) -> Response:
    """Check a corrected body, and replay it; what the contract refuses is told beside the form."""
    body, why = visit.field("body").replace("\r\n", "\n"), visit.field("why").strip()
    with visit.site.database.begin() as tx:
        letter = _letter(tx, visit.field("id"))
        if visit.field("seen") != _fingerprint(letter):
            raise Refusal(409, "Somebody has corrected it meanwhile", "Nothing was sent. Read what it holds now first.")
        if not why:
            return _form(visit, letter, body, why, "Say why it is corrected: it is kept with the letter.")
        try:
            corrections.correct(tx, letter, body.encode("utf-8", "surrogatepass"), by=visit.by, why=why)
        except NotCorrected as error:
            return _form(visit, letter, body, why, str(error))
        operation = conduct.begin(
            tx, "replay", filters.of_ids([letter.id]), by=visit.by, why=f"corrected: {why}", origin="page"
        )
    visit.site.begun.set()
    return visit.go("/console/operations/one", id=operation.id)


def _first(lines: list[str]) -> list[str]:
    """The first lines, as many as a page shows; a longer line ends with a sign."""
    short = [line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…" for line in lines[:MAX_LINES]]
    return [line for line, size in zip(short, accumulate(map(len, short)), strict=True) if size <= MAX_SHOWN]


def _form(visit: Visit, letter: StoredDeadLetter, body: str, why: str, problem: str) -> Response:
    reason = corrections.why_not(letter)
    if reason is None and len(letter.body) > MAX_CORRECTED:
        reason = "its body is too large for a page; export it, and let its sender publish it anew"
    if reason is not None:
        raise Refusal(409, "This letter cannot be corrected", f"The reason: {reason}.")
    return visit.page(
        "console/correct.html",
        422 if problem else 200,
        letter=letter,
        seen=_fingerprint(letter),
        body=body,
        why=why,
        problem=problem,
    )


def _fingerprint(letter: StoredDeadLetter) -> str:
    """The mark of the body that an operator has seen, for the form about it."""
    return sha256(letter.body).hexdigest()


def _letter(tx: Tx, letter_id: str) -> StoredDeadLetter:
    letter = dead_letter_queries.get(tx, letter_id)
    if letter is None:
        raise Refusal(404, "There is no such dead letter", "It may have been removed since, as it was dealt with.")
    return letter


def _properties(letter: StoredDeadLetter) -> list[tuple[str, str]]:
    return _shown({name: value for name, value in letter.properties.items() if name != "headers"})


def _shown(values: dict[str, Any]) -> list[tuple[str, str]]:
    document = json.loads(amqp.dumps(values))
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in document.items()]


PAGES = (
    Page("GET", "/console/letters/one", Right.READ, show),
    Page("GET", "/console/letters/correct", Right.WRITE, show_correction),
    Page("POST", "/console/letters/correct", Right.WRITE, correct, largest=2 * MAX_CORRECTED),
)
