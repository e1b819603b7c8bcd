"""A refused write is about the record or the connection, or nobody knows yet."""

from collections.abc import Collection

import pytest

from cwclient import BadCredentials, MissingRight
from store.mappings import Addition
from worker.connectwise.connection_probe import ConnectionProbe
from worker.connectwise.write_answers import WriteAnswers
from worker.rules.errors import RecordDenied, Unconfirmed, WriteRefused

FORBIDDEN = WriteRefused(MissingRight("no", status=403))
REFUSED = WriteRefused(BadCredentials("no", status=401))
THIS: Addition = (7, 11)
ONE: Addition = (8, 15)
OTHERS: list[Addition] = [(7, 12), (8, 13), (9, 14)]


def _refused(*additions: Addition, taken: Collection[Addition] = ()) -> WriteAnswers:
    """Take these, then refuse the others."""
    writes = WriteAnswers()
    for addition in taken:
        writes.note_accepted(addition)
    for addition in additions:
        writes.blame(FORBIDDEN, addition)
    return writes


@pytest.mark.parametrize(
    ("refused", "writes", "blamed"),
    [
        pytest.param(FORBIDDEN, WriteAnswers(), Unconfirmed, id="the first: nobody knows"),
        pytest.param(FORBIDDEN, _refused(*OTHERS[:2]), Unconfirmed, id="the third: nobody knows"),
        pytest.param(FORBIDDEN, _refused(*OTHERS), None, id="the fourth, and none was taken: the connection"),
        pytest.param(FORBIDDEN, _refused(THIS), None, id="the same again, and none was taken: the connection"),
        pytest.param(FORBIDDEN, _refused(*OTHERS, taken=[ONE]), None, id="the fourth, though one was taken before"),
        pytest.param(FORBIDDEN, _refused(taken=[ONE]), Unconfirmed, id="one was taken, perhaps long ago: nobody knows"),
        pytest.param(FORBIDDEN, _refused(THIS, taken=[ONE]), RecordDenied, id="again, and one is taken: the record"),
        pytest.param(FORBIDDEN, _refused(THIS, taken=[THIS]), None, id="again, but only itself was taken before"),
        pytest.param(REFUSED, _refused(THIS, taken=[ONE]), Unconfirmed, id="keys that one is taken with: it may pass"),
        pytest.param(REFUSED, _refused(*OTHERS), None, id="keys that nothing is taken with: the connection"),
    ],
)
def test_a_refused_write_is_judged_by_what_others_met(
    refused: WriteRefused, writes: WriteAnswers, blamed: type[Unconfirmed] | None
) -> None:
    """One record that may not be changed fails alone, a missing right fails all, found out by a few writes."""
    found = writes.blame(refused, THIS)
    assert (type(found) if found else None) is blamed


def test_records_that_are_known_to_be_denied_tell_nothing_of_others() -> None:
    """Refused before others were taken: however many they are, each is refused again by itself."""
    writes = _refused(THIS, *OTHERS[:2])
    writes.note_accepted(ONE)
    for known in (THIS, *OTHERS[:2]):
        assert type(writes.blame(FORBIDDEN, known)) is RecordDenied
    assert type(writes.blame(FORBIDDEN, OTHERS[2])) is Unconfirmed


def test_one_call_confirms_for_all_that_were_under_way() -> None:
    """Calls that were begun before the confirming one share what it met; a later one asks anew."""
    met = [BadCredentials("no", status=401), None]
    asked = ConnectionProbe(lambda: met[0])
    for begun in (1.0, 2.0):
        with pytest.raises(BadCredentials):
            asked.check(begun)
    met[0] = None
    with pytest.raises(BadCredentials):
        asked.check(3.0)
    asked.check(float("inf"))
