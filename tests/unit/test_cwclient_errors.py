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
    GatewayRefused,
    MissingRight,
    QuantityNotKept,
    RateLimited,
    RecordBusy,
    RecordNotFound,
    RecordRefused,
    RequestRefused,
    ServerTrouble,
    Unreachable,
    VersionRefused,
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
        (408, "", Unreachable),
        (409, '{"code":"ConflictError"}', RecordBusy),
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
        (304, "", Unreachable),
    ],
)
def test_an_answer_becomes_the_error_of_its_remedy(status: int, body: str, kind: type[ConnectWiseError]) -> None:
    """The next step depends on the class alone, so each documented answer has its own."""
    error = from_response(status, {}, body.encode())
    assert type(error) is kind
    assert error.status == status
    assert error.message


#: RFC 9110 15.5, RFC 6585, and what proxies have made up: by the API's form of an error, by no body, by a page.
REFUSALS: list[tuple[int, type[ConnectWiseError], type[ConnectWiseError]]] = [
    (400, RecordRefused, Unreachable), (401, BadCredentials, BadCredentials), (402, GatewayRefused, GatewayRefused),
    (403, MissingRight, Unreachable), (404, RecordNotFound, WrongRoute), (405, GatewayRefused, GatewayRefused),
    (406, RequestRefused, GatewayRefused), (407, GatewayRefused, GatewayRefused), (408, Unreachable, Unreachable),
    (409, RecordBusy, Unreachable), (410, RecordNotFound, Unreachable), (411, RequestRefused, Unreachable),
    (412, RequestRefused, Unreachable), (413, GatewayRefused, GatewayRefused), (414, RequestRefused, Unreachable),
    (415, RequestRefused, Unreachable), (416, RequestRefused, Unreachable), (417, RequestRefused, Unreachable),
    (418, GatewayRefused, Unreachable), (421, GatewayRefused, GatewayRefused), (422, RecordRefused, Unreachable),
    (423, RecordBusy, Unreachable), (424, GatewayRefused, Unreachable), (425, Unreachable, Unreachable),
    (426, GatewayRefused, GatewayRefused), (428, RequestRefused, Unreachable), (429, RateLimited, RateLimited),
    (431, RequestRefused, Unreachable), (444, GatewayRefused, Unreachable), (451, GatewayRefused, GatewayRefused),
    (494, GatewayRefused, Unreachable), (499, GatewayRefused, Unreachable),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "of_a_page"), REFUSALS, ids=lambda value: str(value)[:3])
def test_each_refusal_is_blamed_on_what_it_is_about(
    status: int, kind: type[ConnectWiseError], of_a_page: type[ConnectWiseError]
) -> None:
    """A coordinator is sent to a record only for what the record can be the cause of, not for our form or a proxy."""
    for body in ("", '{"code":"X","message":"no"}', "no"):
        assert type(from_response(status, {}, body.encode())) is kind
    assert type(from_response(status, {}, HTML.encode())) is of_a_page


@pytest.mark.parametrize(
    ("status", "headers", "body", "named"),
    [
        (400, {}, '{"code":"X","message":"The server does not support the API version \'2025.8\'."}', ("2025.8",)),
        (400, {}, '{"code":"X","message":"Version 2025.8 is not served, but 2024.3, 2024.12."}',
         ("2025.8", "2024.3", "2024.12")),
        (400, {}, '{"code":"InvalidObject","message":"Unsupported API version"}', ()),
        (400, {}, '{"error":{"code":"UnsupportedApiVersion","message":"not 2025.8","innerError":null}}', ("2025.8",)),
        (400, {"Api-Supported-Versions": "2024.1, 2024.3"}, '{"title":"Unsupported API version"}',
         ("2024.1", "2024.3")),
        (406, {"api-current-version": "2023.2"}, '{"code":"X","message":"API-version"}', ("2023.2",)),
        (415, {}, "API version 2025.8?", ("2025.8",)),
        (404, {}, '{"detail":"no such api version; 10.2025.8, 2025.80.1, 2025.123, 1.2025.1 are none"}', ()),
    ],
)  # fmt: skip
def test_a_version_that_is_not_served_is_told_from_a_record(
    status: int, headers: dict[str, str], body: str, named: tuple[str, ...]
) -> None:
    """However a server says it, the remedy is another version, which it may name in words or in a header."""
    error = from_response(status, headers, body.encode())
    assert isinstance(error, VersionRefused)
    assert error.named == named


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"code":"InvalidObject","errors":[{"message":"Product version 2025.8 not found"}]}', RecordRefused),
        ('{"code":"X","message":"The conversion to 2025.1 failed."}', RecordRefused),
        ('{"code":"ApiFindCondition","message":"Cannot read the condition"}', RequestRefused),
    ],
)
def test_words_alike_are_not_taken_for_a_version(body: str, kind: type[ConnectWiseError]) -> None:
    """A record that is refused for a version of its own stays the record's; a condition that is refused is ours."""
    assert type(from_response(400, {}, body.encode())) is kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("This record has been locked by jsmith.", RecordBusy),
        ("Someone else is editing this record. Please try again.", RecordBusy),
        ("The record has been modified since it was last read.", RecordBusy),
        ("Snapshot isolation transaction aborted due to update conflict.", RecordBusy),
        ("The wait operation timed out.", RecordBusy),
        ("The agreement 'Managed' is locked.", RecordBusy),
        ("The period is closed. Please try again with another product.", RecordRefused),
        ("Product 'Concurrent Users' is inactive.", RecordRefused),
        ('The product "Another User Licence" does not exist.', RecordRefused),
        ("The quantity cannot be changed, since the addition is invoiced.", RecordRefused),
        ("The agreement cannot be modified since it is closed.", RecordRefused),
        ("Quantity must be changed by a user with more rights.", RecordRefused),
    ],
)
def test_a_conflict_is_told_from_a_refusal_by_its_words(said: str, kind: type[ConnectWiseError]) -> None:
    """A record that somebody holds is let go again; what a rule forbids stays so, though it says to try again."""
    assert type(from_response(400, {}, json.dumps({"code": "X", "message": said}).encode())) is kind


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
        ("Thu, 01 Jan 2026 00:00:00 +99999999999999", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
        ("Thu, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 900.0),
        ("Thu, 01 Jan " + "9" * 5000 + " 00:00:00 GMT", None),
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
    assert len(errors) == 27
    assert all(":" in (e.__doc__ or "") or e is ConnectWiseError for e in errors)
