"""Every answer of ConnectWise gets the class that says what to do about it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cwclient
from cwclient import (
    BadCredentials,
    ClientIdRefused,
    ConnectWiseError,
    FieldError,
    MissingRight,
    QuantityNotKept,
    RateLimited,
    RecordNotFound,
    RecordRefused,
    ServerTrouble,
    Unreachable,
    WrongRoute,
    from_response,
)

HTML = "<!DOCTYPE html><html><script>var clientId = 1</script></html>"
NO_RIGHT = '{"code":"Security","message":"You do not have security permission to perform this action."}'


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"code":"InvalidObject","message":"addition object is invalid","errors":null}', RecordRefused),
        (400, '{"code":"InvalidObject","errors":[{"field":"customFields/ClientID"}]}', RecordRefused),
        (400, "Cannot route. Codebase/company is invalid", WrongRoute),
        (400, '"Cannot route. Codebase/company is invalid"', WrongRoute),
        (400, '{"code":"X","message":"clientId is required"}', ClientIdRefused),
        (401, '{"code":"Unauthorized","message":"ClientID header is missing"}', ClientIdRefused),
        (403, "Invalid ClientId", ClientIdRefused),
        (401, '{"code":"Unauthorized","message":""}', BadCredentials),
        (401, HTML, BadCredentials),
        (401, "", BadCredentials),
        (400, '{"code":"ConnectWiseApi","message":"UserNotAuthenticated"}', BadCredentials),
        (403, '{"message":"Incorrect public/private key"}', BadCredentials),
        (403, NO_RIGHT, MissingRight),
        (401, NO_RIGHT, MissingRight),
        (403, "", MissingRight),
        (403, '{"code":"Security","message":"SSL is required.","errors":null}', WrongRoute),
        (403, HTML, Unreachable),
        (404, '{"code":"NotFound","message":"Addition 5 not found"}', RecordNotFound),
        (404, "", RecordNotFound),
        (404, HTML, WrongRoute),
        (405, "{}", RecordRefused),
        (408, "", Unreachable),
        (409, '{"code":"ConflictError"}', RecordRefused),
        (415, "", RecordRefused),
        (429, '{"code":"ConnectWiseAPI","message":"Too many requests for this clientId."}', RateLimited),
        (429, HTML, RateLimited),
        (500, '{"code":"ConnectWiseApi","message":"A timeout has occured. Please try again."}', ServerTrouble),
        (500, "oops", Unreachable),
        (500, HTML, Unreachable),
        (502, "{}", Unreachable),
        (503, HTML, Unreachable),
        (504, "", Unreachable),
        (521, "error code: 521", Unreachable),
        (200, HTML, Unreachable),
        (200, '{"id":', ServerTrouble),
        (200, "", ServerTrouble),
        (302, "", WrongRoute),
    ],
)
def test_an_answer_becomes_the_error_of_its_remedy(status: int, body: str, kind: type[ConnectWiseError]) -> None:
    """What to do next depends on the class alone, so each documented answer has its own."""
    error = from_response(status, {}, body.encode())
    assert type(error) is kind
    assert error.status == status
    assert error.message


def test_only_the_html_of_a_page_is_withheld_from_the_message() -> None:
    """A coordinator never reads raw HTML, and a page that mentions clientId does not raise an alarm about ours."""
    error = from_response(403, {"Content-Type": "text/html; charset=utf-8"}, b"blocked, clientId 7")
    assert (type(error), error.message) == (Unreachable, "HTTP 403 with an HTML page")


def test_a_refusal_names_the_fields() -> None:
    """A coordinator reads which field ConnectWise objects to."""
    body = {
        "code": "InvalidObject",
        "message": "addition object is invalid",
        "errors": [{"code": "X", "message": "too\r\nlong", "resource": "addition", "field": "quantity"}, "junk"],
    }
    error = from_response(400, {}, json.dumps(body).encode())
    assert isinstance(error, RecordRefused)
    assert error.errors == (FieldError("quantity", "too long"),)


def test_message_is_one_short_printable_line() -> None:
    """Text of a server cannot forge log lines, hide text, or flood a page."""
    nasty = "a\r\nb\x00c\x1b[31m\u202e\u200bd" + "x" * 600
    error = from_response(500, {}, json.dumps({"message": nasty}).encode())
    assert error.message.startswith("a b c [31md")
    assert len(error.message) == 500


def test_secrets_that_a_server_repeats_are_blotted_out() -> None:
    """A private key never appears in an error text, even if the server sends it back."""
    body = json.dumps({"code": "k3y", "message": "bad key k3y", "errors": [{"field": "k3y", "message": "k3y"}]})
    for status, text in ((400, body), (400, "plain k3y"), (302, "")):
        error = from_response(status, {"Location": "https://x/k3y"}, text.encode(), secrets=("k3y", ""))
        assert "k3y" not in f"{error} {error.code} {getattr(error, 'errors', '')}"
        assert "***" in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("99999999999", 900.0),
        ("9" * 6000, 900.0),
        ("Sun, 22 Nov 2026 10:00:45 GMT", 45.0),
        ("Sun, 22 Nov 2026 10:00:45 -0000", 45.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 10:00:00 GMT", 900.0),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, seconds: float | None) -> None:
    """A rate limit pauses for as long as ConnectWise says, at most 15 minutes."""
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert from_response(429, {"retry-AFTER": header}, b"", now=now).retry_after == seconds


def test_a_redirect_names_where_it_pointed() -> None:
    """A partner whose URL redirects reads where to, without the query that may hold a session."""
    error = from_response(307, {"Location": "http://169.254.169.254/latest?token=1"}, b"")
    assert str(error) == "HTTP 307: the server redirects to http://169.254.169.254/latest"


def test_failures_after_which_a_write_may_stand_say_so() -> None:
    """After a gateway or server error on a write, the worker reads again instead of assuming."""
    for status, body in ((502, b""), (500, b"{}"), (200, b"{")):
        error = from_response(status, {}, body)
        assert isinstance(error, Unreachable | ServerTrouble)
        assert error.sent


def test_quantity_not_kept_says_both_numbers() -> None:
    """A coordinator reads what was sent and what came back."""
    assert str(QuantityNotKept(42, 4.0)) == "ConnectWise accepted the quantity 42 but returned 4."
    assert "returned none" in str(QuantityNotKept(42, None))


@settings(deadline=None)
@given(st.integers(200, 599), st.dictionaries(st.sampled_from(["Retry-After", "Location"]), st.text()), st.binary())
def test_any_answer_gives_an_error_and_never_another_exception(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """No answer, however broken, ends as an internal error."""
    assert isinstance(from_response(status, headers, body), ConnectWiseError)


def test_deeply_nested_json_is_survived() -> None:
    """A body made to exhaust the parser is treated as text."""
    assert type(from_response(500, {}, b"[" * 200_000)) is Unreachable


def test_every_error_says_what_it_means_and_who_can_mend_it() -> None:
    """Developers find the remedy in the docstring of each class."""
    errors = [v for n in cwclient.__all__ if isinstance(v := getattr(cwclient, n), type) and issubclass(v, Exception)]
    assert len(errors) == 22
    assert all(":" in (e.__doc__ or "") or e is ConnectWiseError for e in errors)
