"""RabbitMQ's users, each with the rights that it needs and no other: definitions to import, made from the topology."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from messages import EXCHANGE_IN, EXCHANGE_OUT
from messages.envelope import type_of
from messages.wire import OUTPUTS
from worker.topology import EXCHANGE_DEAD, HANDLED, Topology

# RabbitMQ's name of the default exchange in permissions.
DEFAULT_EXCHANGE = "amq.default"
SALT_BYTES = 4


@dataclass(frozen=True)
class User:
    """The exchanges and queues, by RabbitMQ's names, that a user may configure, write to and read from.

    `keys`: by exchange the routing keys that it may publish with; all where the exchange is not named.
    """

    name: str
    tags: Sequence[str] = ()
    configure: Iterable[str] = ()
    write: Iterable[str] = ()
    read: Iterable[str] = ()
    keys: Mapping[str, Iterable[str]] = field(default_factory=dict)


def users(topology: Topology) -> Sequence[User]:
    """Return all users of an installation."""
    come_in, go_out = topology.exchange(EXCHANGE_IN), topology.exchange(EXCHANGE_OUT)
    exchanges = [name for name, _ in topology.exchanges]
    queues = [queue.name for queue in topology.queues]
    return (
        User(
            "platform",
            write=[come_in],
            read=[queue.name for queue in topology.queues if queue.kind is None],
            keys={come_in: HANDLED},
        ),
        User(
            "worker",
            # By the default exchange it answers to `reply_to`, and sends a dead letter back to its queue.
            write=[go_out, DEFAULT_EXCHANGE],
            read=[queue.name for queue in topology.queues if queue.kind is not None],
            keys={go_out: [type_of(kind) for kind in OUTPUTS]},
        ),
        User("operator", tags=["monitoring"], write=[come_in], keys={come_in: HANDLED}),
        User(
            "setup",
            configure=[*exchanges, *queues, *topology.obsolete_queues],
            # A binding is written to its queue and read from its exchange, a dead-letter exchange the other way round.
            write=[*queues, topology.exchange(EXCHANGE_DEAD)],
            read=[*exchanges, *queues],
        ),
        User("monitor", tags=["monitoring"]),
    )


def definitions(topology: Topology, vhost: str, passwords: Mapping[str, str]) -> dict[str, object]:
    """Return what RabbitMQ imports: the virtual host and its users. One without a password cannot log in by one."""
    each = users(topology)
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": user.name,
                "password_hash": password_hash(passwords[user.name]) if user.name in passwords else "",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": list(user.tags),
            }
            for user in each
        ],
        "permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "configure": _one_of(user.configure),
                "write": _one_of(user.write),
                "read": _one_of(user.read),
            }
            for user in each
        ],
        "topic_permissions": [
            {"user": user.name, "vhost": vhost, "exchange": exchange, "write": _one_of(keys), "read": _one_of(())}
            for user in each
            for exchange, keys in user.keys.items()
        ],
    }


def password_hash(password: str) -> str:
    """Hash a password with a new salt, in RabbitMQ's form."""
    salt = secrets.token_bytes(SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _one_of(names: Iterable[str]) -> str:
    """Return a regular expression that matches these names as a whole; without names it matches none."""
    escaped = "|".join(re.escape(name) for name in names)
    return f"^({escaped})$" if escaped else "^$"
