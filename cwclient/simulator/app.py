"""The web application: every request passes the faults, the API and the log, in that order."""

import asyncio
import contextlib
import json
from urllib.parse import unquote_plus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from cwclient.simulator import errors, faults, responses
from cwclient.simulator.access import credentials
from cwclient.simulator.api import LOGIN_PATH, Api, Call, Reply, error_reply
from cwclient.simulator.control import control_routes
from cwclient.simulator.faults import Fault, Faults
from cwclient.simulator.requestlog import RequestLog, now
from cwclient.simulator.state import State

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_HTML = b"<!DOCTYPE html><html><head><title>Service Unavailable</title></head><body><h1>Try again</h1></body></html>"


class Simulator:
    """A simulated ConnectWise: its state, faults and log, and the application that serves them."""

    def __init__(self, state: State, log: RequestLog) -> None:
        self.state = state
        self.faults = Faults()
        self.log = log
        self.closing = asyncio.Event()
        self._api = Api(state)
        self.app = Starlette(
            routes=[
                Mount("/_simulator", routes=control_routes(state, self.faults, log)),
                Route("/{path:path}", self._connectwise, methods=_METHODS),
            ]
        )

    async def _connectwise(self, request: Request) -> Response:
        method, path, body = request.method, request.scope["path"], await request.body()
        tenant = _tenant(request)
        fault = self.faults.take(method, path, tenant, request.headers.get("accept", ""))
        if isinstance(fault, faults.Latency) and await self._closed_within(fault.seconds):
            return responses.NoResponse(reset=False)
        reply = _instead(fault, self.state.client_id_status)
        silent = isinstance(fault, faults.Reset | faults.Hang | faults.LostResponse)
        if reply is None and not _unapplied(fault):
            call = Call(
                method,
                path,
                f"{request.scope['scheme']}://{request.headers.get('host', '')}",
                dict(request.query_params),
                dict(request.headers),
                body,
                keep_changes=not isinstance(fault, faults.NotKept),
                show_changes=not isinstance(fault, faults.LaggingRead),
            )
            reply = self._api.answer(call)
        self.log.append(
            {
                "time": now(),
                "tenant": tenant,
                "method": method,
                "path": path,
                "query": unquote_plus(request.scope["query_string"].decode("latin-1")),
                "status": None if reply is None or silent else reply.status,
                "fault": fault.kind if fault else None,
                "quantity_before": reply.quantity_before if reply else None,
                "quantity_after": reply.quantity_after if reply else None,
                "body": _operations(body) if method == "PATCH" else None,
            }
        )
        return _response(reply, fault)

    async def _closed_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), seconds)
        return self.closing.is_set()


def _tenant(request: Request) -> str | None:
    """Name the company that a request names, whether it exists or not."""
    path: str = request.scope["path"]
    if path.startswith(LOGIN_PATH):
        return path.removeprefix(LOGIN_PATH)
    given = credentials(request.headers)
    return given.company if given else None


def _unapplied(fault: Fault | None) -> bool:
    return isinstance(fault, faults.Reset) or (isinstance(fault, faults.Hang) and not fault.applied)


def _instead(fault: Fault | None, client_id_status: int) -> Reply | None:
    """Return the reply that a fault gives in place of the API's; None if it gives none."""
    match fault:
        case faults.Answer():
            return Reply(fault.status, fault.body.encode(), fault.media_type, fault.headers)
        case faults.Html():
            return Reply(fault.status, _HTML, "text/html; charset=utf-8")
        case faults.Redirect():
            return Reply(fault.status, b"", "text/plain", {"Location": fault.location})
        case faults.MissingRight():
            return error_reply(errors.forbidden())
        case faults.MissingClientId():
            return error_reply(errors.missing_client_id(client_id_status))
        case faults.Status():
            return error_reply(_status_error(fault))
    return None


def _status_error(fault: faults.Status) -> errors.ApiError:
    match fault.status:
        case 400:
            # The shape is known; the entry's words are an example of ours (connectwise-api.md 3.1, 6.3).
            return errors.invalid_addition("InvalidQuantity", "The quantity cannot be changed.", "quantity")
        case 401:
            return errors.unauthorized()
        case 403:
            return errors.forbidden()
        case 404:
            return errors.not_found("Resource")
        case 429:
            return errors.too_many_requests(fault.retry_after, as_date=fault.as_date)
    return errors.server_error(fault.status)


def _response(reply: Reply | None, fault: Fault | None) -> Response:
    """Send the reply as usual, or as the fault has it."""
    if reply is None or isinstance(fault, faults.Hang | faults.LostResponse):
        return responses.Hanging() if isinstance(fault, faults.Hang) else _no_response(fault)
    match fault:
        case faults.BrokenJson():
            return Response(reply.body[: len(reply.body) // 2], reply.status, reply.headers, reply.media_type)
        case faults.SlowDrip():
            return responses.dripping(reply.body, reply.status, reply.media_type, fault.seconds)
        case faults.HugeBody():
            return responses.padded(reply.body, reply.status, reply.media_type, fault.size)
        case faults.EndlessBody():
            return responses.endless(reply.status, reply.media_type)
    return Response(reply.body, reply.status, reply.headers, reply.media_type)


def _no_response(fault: Fault | None) -> Response:
    return responses.NoResponse(reset=isinstance(fault, faults.Reset))


def _operations(body: bytes) -> object:
    """Return the operations of a PATCH for the log, or as much of the text as is worth reading."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:1000].decode(errors="replace")
