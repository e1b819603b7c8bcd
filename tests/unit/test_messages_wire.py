"""The bytes that go over the wire, and those that are refused when they come from there."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import (
    INPUTS,
    KINDS,
    MAX_PROPERTIES,
    OUTPUTS,
    ContractError,
    Message,
    decode,
    encode,
    type_of,
)
from messages.wire import MAX_BODY

GOLDEN = {path.stem: path for path in (Path(__file__).parent / "golden").glob("*.json")}
JSON = "application/json"
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _golden(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(GOLDEN[kind].read_bytes())
    return content


def _read(content: object) -> Message:
    return decode(json.dumps(content).encode(), type=None, content_type=JSON, now=LATER)


def _refusal(body: bytes, **properties: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        decode(body, **{"type": None, "content_type": JSON, "now": LATER} | properties)
    return caught.value


def test_every_kind_has_a_sample() -> None:
    """The released form of every message is written down."""
    assert set(GOLDEN) == set(KINDS)
    assert len(KINDS) == len(INPUTS) + len(OUTPUTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_read_and_written_unchanged(kind: str) -> None:
    """A message of this version means the same tomorrow."""
    message = _read(_golden(kind))
    assert type(message) is KINDS[kind]
    assert json.loads(encode(message).body) == _golden(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_ignores_fields_it_does_not_know(kind: str) -> None:
    """A later sender may add fields, also inside of lines and problems."""

    def extended(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: extended(item) for name, item in value.items()} | {"added_later": [1, {"x": None}]}
        return [extended(item) for item in value] if isinstance(value, list) else value

    assert _read(extended(_golden(kind))) == _read(_golden(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_properties_name_the_message(kind: str) -> None:
    """A broker, a tracer and an operator see what a message is without opening it."""
    content = _golden(kind)
    wire = encode(_read(content))
    assert wire.properties.message_id == content["id"]
    assert wire.properties.type == wire.routing_key == kind
    assert wire.properties.correlation_id == content["correlation_id"]
    assert wire.properties.content_type == JSON
    assert wire.properties.delivery_mode == 2
    assert wire.properties.headers == ({"traceparent": TRACE} if content["traceparent"] else {})
    again = decode(wire.body, type=wire.properties.type, content_type=JSON, headers=wire.properties.headers, now=LATER)
    assert again == _read(content)


def test_the_type_of_a_class_is_its_key() -> None:
    """Topology and dispatch can be built from the registry."""
    assert all(type_of(kind) == name for name, kind in KINDS.items())


def test_a_traceparent_header_is_used_if_the_body_has_none() -> None:
    """A trace goes on also when only the sender's library knew of it; a broken header stops nothing."""
    body = GOLDEN["mapping.check_requested.v1"].read_bytes()
    assert decode(body, type=None, content_type=JSON, headers={"traceparent": TRACE}).traceparent == TRACE
    assert decode(body, type=None, content_type=JSON, headers={"traceparent": b"\xff"}).traceparent is None


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=utf-8"])
def test_json_is_json_however_it_is_labelled(content_type: str | None) -> None:
    """The usual labels of JSON are accepted."""
    assert decode(GOLDEN["mapping.check_requested.v1"].read_bytes(), type=None, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_utf8"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"\0", "not_json"),
        (b'{"a": "\0"}', "not_json"),
        ("{}".encode("utf-16"), "not_utf8"),
        (b"{", "not_json"),
        (b"NaN", "not_json"),
        (b'{"a": Infinity}', "not_json"),
        (b'{"a": -Infinity}', "not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
        (b"[" * 100_000, "too_deep"),
        (b'{"type": "mapping.check_requested.v1", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "too_deep"),
        (b" " * (MAX_BODY + 1), "too_large"),
        (b'{"type": "mapping.check_requested.v1", "type": "x"}', "duplicate_key"),
        (b'{"x": [{"billable_users": 1, "billable_users": 2}]}', "duplicate_key"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "unknown_type"),
        (b'{"type": 7}', "unknown_type"),
        (b'{"type": ["push.requested.v1"]}', "unknown_type"),
        (b'{"type": "push.requested"}', "unknown_type"),
        (b'{"type": "push.requested.vv"}', "unknown_type"),
        (b'{"type": "\\ud800"}', "unknown_type"),
        (b'{"type": "push.requested.v2"}', "unknown_version"),
        (b'{"type": "mapping.check_requested.v1"}', "invalid"),
    ],
)
def test_a_body_that_is_no_message_has_a_reason(body: bytes, reason: str) -> None:
    """The dead letter says in one stable word what is wrong with the bytes, whatever they are."""
    assert _refusal(body).reason == reason


def test_the_properties_must_agree_with_the_body() -> None:
    """A message under a wrong label is never guessed at."""
    body = GOLDEN["mapping.check_requested.v1"].read_bytes()
    assert _refusal(body, type="push.requested.v1").reason == "type_mismatch"
    assert _refusal(body, content_type="text/plain").reason == "content_type"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_contract_error(body: bytes) -> None:
    """No bytes can stop a consumer."""
    _refusal(body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data(), kind=st.sampled_from(sorted(GOLDEN)))
def test_any_value_in_any_field_is_a_message_or_a_contract_error(data: st.DataObject, kind: str) -> None:
    """No field can stop a consumer, and what is accepted can be written and read again."""
    content = _golden(kind)
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(JSON_VALUES)
    try:
        message = _read(content)
    except ContractError:
        return
    assert _read(json.loads(encode(message).body)) == message


@pytest.mark.parametrize(
    "bad",
    [
        1763805600,
        1763805600.5,
        "1763805600",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "2026-11-22 10:00",
        None,
        True,
        "2026-13-22T10:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_time_is_a_text_with_an_offset(bad: object) -> None:
    """A number or a text without a zone is never taken for a time."""
    error = _refusal(json.dumps(_golden("push.requested.v1") | {"requested_at": bad}).encode())
    assert (error.reason, error.detail.partition(":")[0]) == ("invalid", "requested_at")


@pytest.mark.parametrize("bad", [0, "86400", "20261101", "2026-11-01T00:00:00", "2026-11-31"])
def test_a_day_is_a_text_like_2026_11_01(bad: object) -> None:
    """A number is never taken for a date."""
    period = {"start": bad, "end": "2026-11-30"}
    error = _refusal(json.dumps(_golden("push.requested.v1") | {"period": period}).encode())
    assert error.detail.startswith("period.start: ")


@pytest.mark.parametrize("bad", ["true", '"42"', "42.5", "1e-2", "-1", "1000001", "1e300", "9" * 400])
def test_a_count_on_the_wire_is_a_plain_integer(bad: str) -> None:
    """No number of users is guessed from something that only looks like one."""
    body = GOLDEN["push.requested.v1"].read_text().replace('"billable_users": 42', f'"billable_users": {bad}')
    error = _refusal(body.encode())
    assert error.detail.startswith("lines[0].billable_users: ")
    assert ";" not in error.detail


def test_a_whole_number_may_be_written_with_a_fraction_of_nothing() -> None:
    """JSON has one kind of number, and schemas take 42.0 for an integer: it is 42 users."""
    body = GOLDEN["push.requested.v1"].read_text().replace('"billable_users": 42', '"billable_users": 42.0')
    read = json.loads(encode(decode(body.encode(), type=None, content_type=JSON, now=LATER)).body)
    assert read == _golden("push.requested.v1")


@pytest.mark.parametrize("name", ["id", "type", "time", "source", "partner_id", "correlation_id"])
def test_a_body_carries_its_whole_envelope(name: str) -> None:
    """A message without an id would get another one at every delivery, so it is refused."""
    content = _golden("push.requested.v1")
    del content[name]
    error = _refusal(json.dumps(content).encode())
    assert error.reason == ("unknown_type" if name == "type" else "invalid")


def test_a_version_is_held_against_the_readers_clock() -> None:
    """Five minutes ahead of the worker is the most."""
    body = json.dumps(_golden("mapping.changed.v1") | {"changed_at": "2026-11-22T10:05:00Z"}).encode()
    assert decode(body, type=None, content_type=JSON, now=NOW)
    assert "5 minutes" in _refusal(body, now=NOW - timedelta(seconds=1)).detail


def test_a_refusal_can_be_addressed() -> None:
    """A push that cannot be accepted but can be read tells whom to answer."""
    content = _golden("push.requested.v1") | {"lines": []}
    error = _refusal(json.dumps(content).encode())
    assert (error.type, error.partner_id) == ("push.requested.v1", "msp-1")
    assert (error.push_id, error.correlation_id) == (content["push_id"], content["correlation_id"])


@pytest.mark.parametrize("kind", ["push.requested.v1", "revert.requested.v1", "mapping.changed.v1"])
def test_a_body_without_a_type_is_answered_by_that_of_amqp(kind: str) -> None:
    """A client that forgets the type in the body is refused, and learns of it where it waits."""
    content = _golden(kind)
    del content["type"]
    error = _refusal(json.dumps(content).encode(), type=kind)
    assert (error.reason, error.type, error.correlation_id) == ("type_mismatch", kind, content["correlation_id"])
    assert error.push_id == content.get("revert_id", content.get("push_id"))


@pytest.mark.parametrize("correlation_id", ["界" * 100, "", "a\0b", "\ud800", None, 5])
def test_a_refusal_names_no_correlation_that_an_answer_refuses(correlation_id: object) -> None:
    """A correlation id of 300 bytes is readable, but AMQP cannot carry it: the answer goes without."""
    error = _refusal(json.dumps(_golden("push.requested.v1") | {"correlation_id": correlation_id}).encode())
    assert (error.partner_id, error.correlation_id) == ("msp-1", None)


def test_properties_that_could_not_be_passed_on_are_refused() -> None:
    """RabbitMQ takes properties of 128 KiB; with what a replay adds it would not, so half is the most."""
    body = GOLDEN["push.requested.v1"].read_bytes()
    assert decode(body, type=None, content_type=JSON, now=LATER, properties_size=MAX_PROPERTIES)
    error = _refusal(body, properties_size=MAX_PROPERTIES + 1)
    assert (error.reason, error.push_id) == ("too_large", _golden("push.requested.v1")["push_id"])
    assert error.detail == "the AMQP properties have 65537 bytes, at most 65536 are taken"


def test_the_refusal_of_a_revert_names_the_revert() -> None:
    """A revert is a push of its own: its refusal must not be taken for that of the push which it names."""
    content = _golden("revert.requested.v1") | {"company_ids": []}
    error = _refusal(json.dumps(content).encode())
    assert (error.type, error.push_id) == ("revert.requested.v1", content["revert_id"])


def test_a_refusal_uses_no_broken_address() -> None:
    """Ids that are none are not repeated."""
    error = _refusal(json.dumps({"type": "push.requested.v1", "partner_id": "a\0", "push_id": 7}).encode())
    assert (error.partner_id, error.push_id, error.correlation_id) == (None, None, None)


def test_many_errors_are_told_in_few_words() -> None:
    """A push of bad lines does not make a log entry of a megabyte."""
    line = {"company_id": "c", "company_name": "A", "billable_users": -1}
    error = _refusal(json.dumps(_golden("push.requested.v1") | {"lines": [line] * 10_000}).encode())
    assert len(error.detail) < 1000
    assert error.detail.endswith("and 9995 more")


@pytest.mark.parametrize("name", sorted(_golden("connection.changed.v1")))
@pytest.mark.parametrize("wrap", [lambda secret: secret, lambda secret: [secret], lambda secret: {secret: secret}])
def test_no_value_of_a_connection_is_shown(name: str, wrap: Any) -> None:
    """A private key in the wrong field does not reach a dead letter's text."""
    content = _golden("connection.changed.v1") | {name: wrap("\u0007hunter2secret")}
    if name != "type":
        assert "hunter2" not in str(_refusal(json.dumps(content).encode()))
    body = json.dumps(content)[:-1] + ', "hunter2secret!": 1, "hunter2secret!": 2}'
    assert "hunter2" not in str(_refusal(body.encode()))


def test_what_no_reader_would_take_is_not_written() -> None:
    """A body over the limit fails at the sender."""
    message = _read(_golden("push.requested.v1"))
    huge = message.model_copy(update={"requested_by": "x" * MAX_BODY})
    with pytest.raises(ContractError, match="too_large"):
        encode(huge)
