"""The names of all settings with their meanings, apart from their checks: help needs no more."""

PREFIX = "PHIN_CONNECTWISE_"

MEANINGS = {
    "broker_url": "`local:` (no broker) or `amqp(s)://user:password@host/vhost`",
    "broker_ca_file": "PEM file with the authority of an `amqps://` broker, trusted instead of the system's",
    "database_url": "`sqlite:///file` or `postgresql://user:password@host/db`",
    "client_id": "the vendor's ConnectWise clientId, a GUID",
    "api_version": "API version that ConnectWise is asked for; an older one is, where only that is served",
    "seal_keys": "private seal keys, comma separated, the current one first",
    "allow_private_hosts": "hosts or CIDRs of ConnectWise servers in private networks, comma separated",
    "queue_prefix": "put before all names in RabbitMQ",
    "results_queue": "the platform's queue for all results; empty = none is declared",
    "partners_at_once": "partners that one worker serves side by side",
    "retry_for": "how long a line is retried, in seconds",
    "big_jump_share": "a quantity that changes by more than this share of itself …",
    "big_jump_count": "… and by more than so many users is held until it is confirmed",
    "call_timeout": "seconds that one call to ConnectWise may take in all",
    "status_address": "host:port of the worker's /livez, /readyz and /metrics; empty = none",
    "traces": "otlp = export traces by OTLP over HTTP, set by `OTEL_…` variables; off = none",
    "log_level": "least severe log line shown",
    "log_format": "json for machines, console for people",
}
"""The meaning of each setting by its name, which in the environment is in capitals, after PREFIX."""
