"""JSON from a server that may be hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwclient import jsons

LARGEST = 1.7976931348623157e308


@pytest.mark.parametrize(
    "text",
    ["[1e999]", "-1e999", '{"quantity": 1e400}', "[1.8e308]", "[NaN]", "Infinity", "-Infinity", "9" * 310,
     "-" + "9" * 5000, "1" + "0" * 400 + ".5", "[", "", "01", "[1,]", "'a'"],
)  # fmt: skip
def test_what_is_no_json_or_no_number_is_refused(text: str) -> None:
    """No quantity is read as infinity, and no number fails later, where nobody expects it."""
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=r"."):
            jsons.loads(form)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-int(LARGEST), int(LARGEST))))
def test_every_number_that_can_be_held_is_read(number: float) -> None:
    """Ids and quantities of any size come as they are."""
    assert jsons.loads(f"[{number!r}]") == [number]


@pytest.mark.parametrize("number", ["1e999", "-1e400", "9" * 310, "1" + "0" * 400 + ".5"])
@pytest.mark.parametrize("length", [0, jsons.MAX_SEARCHED])
def test_no_place_hides_a_number_that_cannot_be_held(number: str, length: int) -> None:
    """Neither a short answer nor a page of a thousand records brings a quantity that is infinite."""
    text = f'[{{"note": "{"x" * length}", "quantity": {number}}}]'
    with pytest.raises(ValueError, match=r"no number that can be held|Exceeds the limit"):
        jsons.loads(text)
