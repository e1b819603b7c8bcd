"""The simulator's own routes under `/_simulator`: look at and change state, faults and log while it runs.

GET, PATCH       /_simulator/state                       the state document; PATCH lays one over it
DELETE           /_simulator/state/{tenant}/{kind}/{id}  kind: companies, agreements, additions, catalog
GET, PUT, DELETE /_simulator/faults                 a JSON list of faults
GET, DELETE /_simulator/log?since=N                 the records after the first N
"""

from typing import cast

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cwclient.simulator.document import StateDocument
from cwclient.simulator.faults import FAULTS, Faults
from cwclient.simulator.requestlog import RequestLog
from cwclient.simulator.state import RECORD_KINDS, RecordKind, State


def control_routes(state: State, faults: Faults, log: RequestLog) -> list[Route]:
    """Make the routes over a state, faults and log. What cannot be accepted is a 400 with an `error` text."""

    async def state_route(request: Request) -> Response:
        if request.method == "PATCH":
            try:
                state.merge(StateDocument.model_validate_json(await request.body()))
            except ValueError as error:
                return _refused(error)
        return JSONResponse(state.document())

    async def record_route(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in RECORD_KINDS:
            return JSONResponse({"error": f"kind is one of {', '.join(RECORD_KINDS)}"}, 404)
        try:
            state.remove(request.path_params["tenant"], cast("RecordKind", kind), request.path_params["record_id"])
        except KeyError as error:
            return JSONResponse({"error": f"{error} is not there"}, 404)
        return Response(status_code=204)

    async def faults_route(request: Request) -> Response:
        if request.method == "PUT":
            try:
                faults.set(FAULTS.validate_json(await request.body()))
            except ValueError as error:
                return _refused(error)
        if request.method == "DELETE":
            faults.clear()
        return JSONResponse(faults.document())

    async def log_route(request: Request) -> Response:
        if request.method == "DELETE":
            log.clear()
            return Response(status_code=204)
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit()):
            return JSONResponse({"error": "since must be a number"}, 400)
        return JSONResponse(log.records[int(since) :])

    return [
        Route("/state", state_route, methods=["GET", "PATCH"]),
        Route("/state/{tenant}/{kind}/{record_id:int}", record_route, methods=["DELETE"]),
        Route("/faults", faults_route, methods=["GET", "PUT", "DELETE"]),
        Route("/log", log_route, methods=["GET", "DELETE"]),
    ]


def _refused(error: ValueError) -> JSONResponse:
    return JSONResponse({"error": describe(error)}, 400)


def describe(error: ValueError) -> str:
    """Say what is wrong with a document, one line for each place, such as `tenants.0.additions.3: ...`, no input."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
