"""The AsyncAPI 3.1 document of the worker: the models and the topology say what is in it."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from messages import (
    EXCHANGE_IN,
    EXCHANGE_OUT,
    INPUTS,
    OUTPUTS,
    CatalogListed,
    CatalogRequested,
    ConnectionChanged,
    ConnectionChecked,
    ConnectionCheckRequested,
    MappingChanged,
    MappingChecked,
    MappingCheckRequested,
    Message,
    PushCancelRequested,
    PushCompleted,
    PushRequested,
    RevertRequested,
    SyncResult,
    type_of,
)
from worker.topology import Topology, queue_of

Node = dict[str, Any]

BINDING = {"bindingVersion": "0.3.0"}

ANSWERS: Mapping[type[Message], Sequence[type[Message]]] = {
    ConnectionChanged: (ConnectionChecked,),
    ConnectionCheckRequested: (ConnectionChecked,),
    MappingChanged: (MappingChecked,),
    MappingCheckRequested: (MappingChecked,),
    CatalogRequested: (CatalogListed,),
    PushRequested: (SyncResult, PushCompleted),
    PushCancelRequested: (SyncResult, PushCompleted),
    RevertRequested: (SyncResult, PushCompleted),
}

RESULTS = "results"
CATALOG_ANSWERS = "catalogAnswers"

_DESCRIPTION = """\
Events that the platform publishes, and what the worker answers. The operations are the worker's: it receives what the
platform publishes, and sends what the platform reads. `QUEUE_PREFIX` of the worker stands before the name of each
exchange and queue. docs/messages.md says what a schema cannot.

AMQP's bindings have no place for the arguments of queues, nor for their bindings: `x-rabbitmq` has both.
"""


def document(version: str, examples: Mapping[str, Sequence[Node]]) -> Node:
    """Return the document. `examples` are whole messages by type, `version` is that of the package."""
    topology = Topology()
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "Phin ConnectWise worker", "version": version, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"rabbitmq": _server()},
        "channels": {
            **{type_of(kind): _event_channel(kind, topology) for kind in INPUTS},
            RESULTS: _results_channel(topology),
            CATALOG_ANSWERS: _catalog_answers(),
        },
        "operations": {
            **{_named("receive", kind): _receive(kind) for kind in INPUTS},
            **{_named("send", kind): _send(kind) for kind in OUTPUTS},
        },
        "components": {
            "messages": {type_of(kind): _message(kind, examples[type_of(kind)]) for kind in INPUTS + OUTPUTS},
            "correlationIds": {
                "question": {
                    "description": "Chosen by who asks, and the same in each answer; also AMQP's property.",
                    "location": "$message.payload#/correlation_id",
                }
            },
            "securitySchemes": {
                "user": {"type": "userPassword", "description": "A user of RabbitMQ, by SASL PLAIN within TLS."}
            },
        },
        "x-rabbitmq": _rabbitmq(topology),
    }


def _server() -> Node:
    return {
        "host": "{host}:{port}",
        "pathname": "/{vhost}",
        "protocol": "amqps",
        "protocolVersion": "0.9.1",
        "description": "The RabbitMQ that platform and worker share; 3.10 or newer.",
        "variables": {
            "host": {"description": "The broker's name, which its certificate has to carry."},
            "port": {"description": "5671 with TLS; 5672 without, as protocol `amqp`.", "default": "5671"},
            "vhost": {"description": "The virtual host; empty is `/`.", "default": ""},
        },
        "security": [_ref("components", "securitySchemes", "user")],
    }


def _event_channel(kind: type[Message], topology: Topology) -> Node:
    name = type_of(kind)
    return {
        "address": name,
        "title": name,
        "description": f"The address is the routing key; the queue `{queue_of(name)}` is bound by it.",
        "messages": {name: _ref("components", "messages", name)},
        "bindings": _exchange(topology, EXCHANGE_IN),
    }


def _results_channel(topology: Topology) -> Node:
    kinds = [type_of(kind) for kind in OUTPUTS]
    return {
        "address": "{type}",
        "title": "Results",
        "description": f"The address is the routing key; the queue `{topology.results_queue}` is bound by all of them.",
        "parameters": {
            "type": {"description": "The type of the message.", "enum": kinds, "location": "$message.payload#/type"}
        },
        "messages": {name: _ref("components", "messages", name) for name in kinds},
        "bindings": _exchange(topology, EXCHANGE_OUT),
    }


def _catalog_answers() -> Node:
    name = type_of(CatalogListed)
    return {
        "address": None,
        "title": "Answers to a `reply_to`",
        "description": "The queue that a question names, by the default exchange; no prefix is put before its name.",
        "messages": {name: _ref("components", "messages", name)},
    }


def _exchange(topology: Topology, name: str) -> Node:
    kinds = dict(topology.exchanges)
    exchange = {"name": name, "type": kinds[topology.exchange(name)], "durable": True, "autoDelete": False}
    return {"amqp": {"is": "routingKey", "exchange": exchange, **BINDING}}


def _receive(kind: type[Message]) -> Node:
    name, answers = type_of(kind), [type_of(answer) for answer in ANSWERS[kind]]
    reply: Node = {"channel": _ref("channels", RESULTS)}
    if kind is CatalogRequested:
        reply = {
            "address": {
                "description": "Null = the answer goes to the results, like all others.",
                "location": "$message.payload#/reply_to",
            },
            "channel": _ref("channels", CATALOG_ANSWERS),
        }
    channel = reply["channel"]["$ref"]
    reply["messages"] = [{"$ref": f"{channel}/messages/{answer}"} for answer in answers]
    return {
        "action": "receive",
        "channel": _ref("channels", name),
        "summary": _summary(kind),
        "messages": [_ref("channels", name, "messages", name)],
        "bindings": {"amqp": {"ack": True, **BINDING}},
        "reply": reply,
    }


def _send(kind: type[Message]) -> Node:
    return {
        "action": "send",
        "channel": _ref("channels", RESULTS),
        "summary": _summary(kind),
        "messages": [_ref("channels", RESULTS, "messages", type_of(kind))],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, **BINDING}},
    }


def _message(kind: type[Message], examples: Sequence[Node]) -> Node:
    name = type_of(kind)
    return {
        "name": name,
        "title": kind.__name__,
        "summary": _summary(kind),
        "contentType": "application/json",
        "correlationId": _ref("components", "correlationIds", "question"),
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": name, **BINDING}},
        "payload": {"$ref": f"../messages/schemas/{name}.json"},
        "examples": [{"name": f"{name}-{number}", "payload": one} for number, one in enumerate(examples, 1)],
    }


def _rabbitmq(topology: Topology) -> Node:
    return {
        "exchanges": [{"name": name, "type": kind, "durable": True} for name, kind in topology.exchanges],
        "queues": [
            {
                "name": queue.name,
                "durable": True,
                "arguments": dict(queue.arguments),
                "bindings": [{"exchange": exchange, "routing_key": key} for exchange, key in queue.bindings],
            }
            for queue in topology.queues
        ],
    }


def _summary(kind: type[Message]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _named(action: str, kind: type[Message]) -> str:
    return f"{action}{kind.__name__}"


def _ref(*path: str) -> Node:
    return {"$ref": f"#/{'/'.join(path)}"}
