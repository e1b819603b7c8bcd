"""Error replies of ConnectWise, each with its source in connectwise-api.md (sections 1.3, 2.2, 3 and 7.1)."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


class ApiError(Exception):
    """A request that ends with an error reply: `status`, the body as bytes, its media type and extra headers."""

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        media_type: str = "application/json; charset=utf-8",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {body[:200].decode(errors='replace')}")
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = headers or {}


def api_error(
    status: int,
    code: str,
    message: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> ApiError:
    """Make an error with the body `{code, message, errors}` of connectwise-api.md 3.1."""
    body = json.dumps({"code": code, "message": message, "errors": errors}).encode()
    return ApiError(status, body, headers=headers)


def cannot_route() -> ApiError:
    """Answer a wrong codebase or company with 400 and plain text (connectwise-api.md 1.3)."""
    return ApiError(400, b"Cannot route. Codebase/company is invalid", media_type="text/plain; charset=utf-8")


def unauthorized() -> ApiError:
    """Answer wrong keys with 401 (connectwise-api.md 3.2)."""
    return api_error(401, "Unauthorized", "Incorrect public/private key")


def missing_client_id(status: int) -> ApiError:
    """Answer a missing clientId; only that the body names it is known (connectwise-api.md 2.2), the wording is ours."""
    return api_error(status, "Security", "The request header clientId is missing or not valid.")


def forbidden() -> ApiError:
    """Answer a missing right with 403 (connectwise-api.md 3.2)."""
    return api_error(403, "Security", "You do not have security permission to perform this action.")


def not_found(what: str) -> ApiError:
    """Answer an unknown record, such as `Agreement 7`, with 404 (connectwise-api.md 3.2)."""
    return api_error(404, "NotFound", f"{what} not found")


def method_not_allowed() -> ApiError:
    """Answer a method that the simulator does not offer on a route with 405 (connectwise-api.md 3.2)."""
    return api_error(405, "MethodNotAllowed", "The requested resource does not support this method.")


def unsupported_media_type() -> ApiError:
    """Answer a PATCH that is not declared as JSON with 415 (connectwise-api.md 3.2)."""
    return api_error(415, "UnsupportedMediaType", "The Content-Type of the request must be application/json.")


def bad_query(message: str) -> ApiError:
    """Answer bad conditions, fields, order or paging with 400; only the status is known (connectwise-api.md 3.2)."""
    return api_error(400, "ApiFindCondition", message)


def invalid_addition(code: str, message: str, field: str = "") -> ApiError:
    """Answer a refused change of an addition with 400 InvalidObject (connectwise-api.md 3.1, 3.2)."""
    detail = {"code": code, "message": message, "resource": "addition", "field": field}
    return api_error(400, "InvalidObject", "addition object is invalid", [detail])


def unconvertible(value: object, field: str) -> ApiError:
    """Answer a value of the wrong type with 500: ConnectWise reports bad input so (connectwise-api.md 3.2)."""
    return api_error(500, "ConnectWiseApi", f"Error converting value {json.dumps(value)}. Path '{field}'.")


def too_many_requests(retry_after: int, *, as_date: bool = False) -> ApiError:
    """Answer 429, `retry_after` in seconds (connectwise-api.md 3.2, 7.1); `as_date` says it as an HTTP date.

    ConnectWise documents seconds; a gateway in front of it may send the other form of RFC 9110 10.2.3.
    """
    message = f"Too many requests. Please try again in {retry_after} seconds."
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=retry_after), usegmt=True)
    return api_error(429, "ConnectWiseAPI", message, headers={"Retry-After": until if as_date else str(retry_after)})


def server_error(status: int) -> ApiError:
    """Answer a 5xx with the timeout text that is seen under load (connectwise-api.md 3.2)."""
    return api_error(status, "ConnectWiseApi", "A timeout has occured. Please try again.")
