"""All metrics of a worker's own work, declared once; those of the store are in `status/store_metrics.py`.

Names are those of OpenTelemetry's conventions in their Prometheus form where these have one (messaging, HTTP). No label
names a partner, a company or a push, so the number of series does not grow with them.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

MESSAGES_HANDLED = Histogram(
    "messaging_process_duration_seconds",
    "Time from a message's delivery to a handler until its settlement; in a batch each message's share.",
    ["messaging_destination_name"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0),
    registry=REGISTRY,
)
UNKNOWN_FIELDS = Counter(
    "phin_connectwise_messages_with_unknown_fields",
    "Messages with fields that no model declares, which the worker ignores; the log names the fields.",
    ["type"],
    registry=REGISTRY,
)
MESSAGES_SENT = Counter(
    "messaging_client_sent_messages",
    "Messages that the relay published, by exchange; error_type says why the broker did not take one.",
    ["messaging_destination_name", "error_type"],
    registry=REGISTRY,
)
HTTP_CALLS = Histogram(
    "http_client_request_duration_seconds",
    "Time of a request to ConnectWise until its whole answer, or its failure.",
    ["http_request_method"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    registry=REGISTRY,
)
HTTP_ANSWERS = Counter(
    "phin_connectwise_http_answers",
    "Answers of ConnectWise by status; error_type is set where none came.",
    ["http_request_method", "http_response_status_code", "error_type"],
    registry=REGISTRY,
)
LINES = Counter(
    "phin_connectwise_lines",
    "Results of lines by status and the problem's code; a line that is retried has several.",
    ["status", "problem"],
    registry=REGISTRY,
)
RETRIES = Counter(
    "phin_connectwise_retries", "Attempts of lines that failed and are made again.", ["problem"], registry=REGISTRY
)
BUDGET_WAIT = Counter(
    "phin_connectwise_request_budget_wait_seconds",
    "Time for which partners' calls waited for their request budgets.",
    registry=REGISTRY,
)
LEASES_HELD = Gauge("phin_connectwise_leases_held", "Partners that this worker serves now.", registry=REGISTRY)
HEARTBEAT = Gauge(
    "phin_connectwise_heartbeat_timestamp_seconds",
    "When this worker last stored its heartbeat, as Unix time by its own clock; 0 = not yet.",
    registry=REGISTRY,
)
READY = Gauge(
    "phin_connectwise_part_ready",
    "1 = this part of the worker works, 0 = it has a trouble.",
    ["part"],
    registry=REGISTRY,
)

#: Other statuses are counted as "other": a server may answer with any number.
_STATUSES = {
    *(200, 201, 204, 301, 302, 304, 307, 308),
    *(400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 423, 429),
    *(500, 502, 503, 504),
}


def count_call(method: str, status: int | None, error: str, seconds: float) -> None:
    """Count a request: its status, or None and the name of the error that kept an answer from coming."""
    HTTP_CALLS.labels(method).observe(seconds)
    text = "" if status is None else str(status) if status in _STATUSES else "other"
    HTTP_ANSWERS.labels(method, text, error).inc()


def count_lines(counts: Mapping[tuple[str, str], int]) -> None:
    """Count results of lines by (status, problem code or "")."""
    for labels, count in counts.items():
        LINES.labels(*labels).inc(count)
