"""A refused write is about the record or the connection, or nobody knows yet."""

import pytest

from cwclient import BadCredentials, MissingRight
from store.mappings import Addition
from worker import blame
from worker.blame import Confirmation, RecordDenied, Unconfirmed, WriteRefused

FORBIDDEN = WriteRefused(MissingRight("no", status=403))
REFUSED = WriteRefused(BadCredentials("no", status=401))
THIS: Addition = (7, 11)
OTHERS: list[Addition] = [(7, 12), (8, 13), (9, 14)]


@pytest.mark.parametrize(
    ("refused", "before", "taken", "blamed"),
    [
        pytest.param(FORBIDDEN, [], False, Unconfirmed, id="the first: nobody knows"),
        pytest.param(FORBIDDEN, OTHERS[:2], False, Unconfirmed, id="the third: nobody knows"),
        pytest.param(FORBIDDEN, OTHERS, False, None, id="the fourth, and none was taken: the connection"),
        pytest.param(FORBIDDEN, [THIS], False, None, id="the same again, and none was taken: the connection"),
        pytest.param(FORBIDDEN, [], True, RecordDenied, id="others are taken: the record"),
        pytest.param(FORBIDDEN, [THIS, *OTHERS], True, RecordDenied, id="several, and others are taken: the record"),
        pytest.param(REFUSED, [], True, Unconfirmed, id="keys that others are taken with: it may pass"),
        pytest.param(REFUSED, OTHERS, False, None, id="keys that nothing is taken with: the connection"),
    ],
)
def test_a_refused_write_is_judged_by_what_others_met(
    refused: WriteRefused, before: list[Addition], blamed: type[Unconfirmed] | None, *, taken: bool
) -> None:
    """One record that may not be changed fails alone, a missing right fails all, found out by a few writes."""
    found = blame.of_write(refused, THIS, before, taken=taken)
    assert (type(found) if found else None) is blamed


def test_one_call_confirms_for_all_that_were_under_way() -> None:
    """Calls that were begun before the confirming one share what it met; a later one asks anew."""
    met = [BadCredentials("no", status=401), None]
    asked = Confirmation(lambda: met[0])
    for begun in (1.0, 2.0):
        with pytest.raises(BadCredentials):
            asked.get(begun)
    met[0] = None
    with pytest.raises(BadCredentials):
        asked.get(3.0)
    asked.get(float("inf"))
