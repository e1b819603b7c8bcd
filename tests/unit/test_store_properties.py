"""AMQP's properties survive the store: what is read is what was written, value and type."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps as amqp_dumps
from hypothesis import given
from hypothesis import strategies as st

from store.amqp_properties import as_sent, dumps, encoded_size, loads

SENDABLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(min_value=datetime.fromisoformat("1970-01-01"))
)
"""Values that py-amqp sends; times before 1970 and decimals of more than 32 bits it does not."""

SCALARS = SENDABLE | st.datetimes() | st.decimals(allow_nan=False, allow_infinity=False)
NAMES = st.text(max_size=8) | st.sampled_from(["$bytes", "$time", "$decimal", "$table", "$"]) | st.binary(max_size=4)


def _tables(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    inner = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
    return st.dictionaries(NAMES, inner, max_size=5)


@given(_tables(SCALARS))
def test_what_is_kept_comes_back_the_same(headers: dict[Any, Any]) -> None:
    """Times, bytes, decimals, nested tables, names that are no text: a replay says exactly what the sender said."""
    back = loads(dumps({"message_id": "m", "headers": headers}))["headers"]
    assert back == headers
    assert {name: type(value) for name, value in back.items()} == {name: type(value) for name, value in headers.items()}


@given(_tables(SENDABLE))
def test_a_size_is_never_less_than_what_is_sent(headers: dict[Any, Any]) -> None:
    """Properties that pass for small enough fit into a frame."""
    assert encoded_size({"message_id": "m" * 255, "headers": headers}) > len(amqp_dumps("sF", ["m" * 255, headers]))


def test_a_size_is_told_however_deep_tables_are() -> None:
    """It is asked before anything is known of a message, and must not end the thread that asks."""
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert encoded_size({"headers": {"deep": deep}}) > 50_000


def test_the_text_is_plain_ascii() -> None:
    """No database refuses it: neither a NUL nor half a character is in it."""
    text = dumps(
        {"headers": {"odd": "\0\ud800", "time": datetime.fromisoformat("2026-01-01"), "price": Decimal("1.50")}}
    )
    assert text.isascii()
    assert "\0" not in text


def test_what_amqp_does_not_know_is_refused() -> None:
    """A value of ours that cannot be restored is an error at once, not a loss later."""
    with pytest.raises(TypeError, match="object"):
        dumps({"headers": {"x": object()}})


def test_a_replay_says_what_the_sender_said() -> None:
    """A replay leaves out what the broker and an earlier replay added; the sender's own `x-` headers stay."""
    added = {"x-death": [{"count": 1}], "x-first-death-queue": "q", "x-delivery-count": 3, "phin-replay": "a/1"}
    properties = {"message_id": "m", "expiration": "5", "delivery_mode": 1, "user_id": "u", "priority": None}
    assert as_sent(properties | {"headers": {"x-own": 1} | added}) == {"message_id": "m", "headers": {"x-own": 1}}
    assert as_sent(properties | {"headers": added}) == {"message_id": "m"}
