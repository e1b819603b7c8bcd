"""Faults that are switched on while the simulator runs: which requests they hit, and what happens to those.

A fault is JSON such as `{"kind": "lost_response", "match": {"method": "PATCH"}, "times": 1}`.
"""

import random
import re
import threading
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, TypeAdapter


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


class Match(BaseModel):
    """The conditions under which a fault hits a request; absent means any.

    `path` and `accept` are regular expressions found anywhere in the path and in the Accept header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = None
    path: Annotated[str, AfterValidator(_pattern)] | None = None
    tenant: str | None = None
    accept: Annotated[str, AfterValidator(_pattern)] | None = None

    def hits(self, method: str, path: str, tenant: str | None, accept: str = "") -> bool:
        """Say whether a request is one of them."""
        return (
            self.method in {None, method}
            and self.tenant in {None, tenant}
            and (self.path is None or re.search(self.path, path) is not None)
            and (self.accept is None or re.search(self.accept, accept) is not None)
        )


class _Fault(BaseModel):
    """`times`: how many requests it hits, then it is spent. `probability`: of hitting one, drawn from `seed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match = Match()
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0


class Latency(_Fault):
    """The request waits `seconds`, then is answered as usual, even if the client has gone."""

    kind: Literal["latency"] = "latency"
    seconds: NonNegativeFloat


class Status(_Fault):
    """An error reply, nothing applied: 400 InvalidObject, 401, 403, 404, 429 or a 5xx with its JSON body.

    A 429 says `retry_after` in seconds, or, `as_date`, as the HTTP date that it comes to (RFC 9110 allows both).
    """

    kind: Literal["status"] = "status"
    status: Literal[400, 401, 403, 404, 429, 500, 502, 503, 504]
    retry_after: int = Field(default=30, ge=0)
    as_date: bool = False


class Answer(_Fault):
    """Any answer at all, nothing applied: as gateways give it, or a ConnectWise in a way not documented."""

    kind: Literal["answer"] = "answer"
    status: int = Field(ge=200, le=999)
    body: str = ""
    media_type: str = "application/json"
    headers: dict[str, str] = Field(default_factory=dict)


class Html(_Fault):
    """An HTML page with any status, nothing applied, as gateways send it (connectwise-api.md 8)."""

    kind: Literal["html"] = "html"
    status: int = Field(default=503, ge=200, le=599)


class Redirect(_Fault):
    """A redirect to `location`, nothing applied."""

    kind: Literal["redirect"] = "redirect"
    location: str
    status: Literal[301, 302, 303, 307, 308] = 302


class MissingRight(_Fault):
    """403, as if the security role lacked the right; nothing applied."""

    kind: Literal["missing_right"] = "missing_right"


class MissingClientId(_Fault):
    """The error for a missing or unknown clientId; nothing applied."""

    kind: Literal["missing_client_id"] = "missing_client_id"


class Reset(_Fault):
    """The connection is reset without a response, nothing applied."""

    kind: Literal["reset"] = "reset"


class LostResponse(_Fault):
    """The request is applied, then the connection is closed without a response."""

    kind: Literal["lost_response"] = "lost_response"


class Hang(_Fault):
    """No answer until the client goes away; the request is applied first if `applied`."""

    kind: Literal["hang"] = "hang"
    applied: bool = False


class NotKept(_Fault):
    """A PATCH answers 200 with the record unchanged."""

    kind: Literal["not_kept"] = "not_kept"


class LaggingRead(_Fault):
    """A PATCH is applied, but its answer shows the record as it was (connectwise-api.md 6.1)."""

    kind: Literal["lagging_read"] = "lagging_read"


class BrokenJson(_Fault):
    """The request is applied, the body breaks off in the middle of the JSON, the response is complete."""

    kind: Literal["broken_json"] = "broken_json"


class SlowDrip(_Fault):
    """The request is applied, the body comes one byte every `seconds`."""

    kind: Literal["slow_drip"] = "slow_drip"
    seconds: NonNegativeFloat = 0.1


class HugeBody(_Fault):
    """The request is applied, the body is padded with blanks to `size` bytes, still valid JSON."""

    kind: Literal["huge_body"] = "huge_body"
    size: int = Field(default=64 * 1024 * 1024, ge=1)


class EndlessBody(_Fault):
    """The request is applied, the body never ends."""

    kind: Literal["endless_body"] = "endless_body"


Fault = Annotated[
    Latency
    | Status
    | Answer
    | Html
    | Redirect
    | MissingRight
    | MissingClientId
    | Reset
    | LostResponse
    | Hang
    | NotKept
    | LaggingRead
    | BrokenJson
    | SlowDrip
    | HugeBody
    | EndlessBody,
    Field(discriminator="kind"),
]
FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


class _Switched:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.random = random.Random(fault.seed)  # noqa: S311 - chaos that can be repeated, no secret


class Faults:
    """The faults that are switched on, in order; the first that hits a request decides. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._switched: list[_Switched] = []

    def set(self, faults: Iterable[Fault]) -> None:
        """Switch on exactly these faults."""
        switched = [_Switched(fault) for fault in faults]
        with self._lock:
            self._switched = switched

    def add(self, fault: Fault) -> None:
        """Switch on one more fault."""
        with self._lock:
            self._switched.append(_Switched(fault))

    def clear(self) -> None:
        """Switch all faults off."""
        self.set([])

    def document(self) -> list[dict[str, object]]:
        """Return the faults that are not spent as JSON values, with `times` as what is left."""
        with self._lock:
            return [one.fault.model_dump(mode="json") | {"times": one.left} for one in self._switched if one.left != 0]

    def take(self, method: str, path: str, tenant: str | None, accept: str = "") -> Fault | None:
        """Return the fault that hits a request, and count it."""
        with self._lock:
            for one in self._switched:
                if one.left == 0 or not one.fault.match.hits(method, path, tenant, accept):
                    continue
                if one.random.random() >= one.fault.probability:
                    continue
                if one.left is not None:
                    one.left -= 1
                return one.fault
        return None
