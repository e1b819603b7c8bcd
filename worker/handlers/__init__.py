"""One file for each subject of messages: their effect on the store, in one short transaction each.

Handlers are idempotent by natural key: a message that comes again changes nothing and is answered the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from messages import (
    CatalogRequested,
    ConnectionChanged,
    ConnectionCheckRequested,
    MappingChanged,
    MappingCheckRequested,
    Message,
    PushCancelRequested,
    PushRequested,
    RevertRequested,
)
from worker.handlers.cancellation import push_cancel_requested
from worker.handlers.catalog import catalog_requested
from worker.handlers.connections import connection_changed, connection_check_requested
from worker.handlers.context import Context
from worker.handlers.mappings import mapping_check_requested, mappings_changed
from worker.handlers.pushes import push_requested
from worker.handlers.reverts import revert_requested

HANDLERS: Mapping[type[Message], Callable[..., int | None]] = {
    ConnectionChanged: connection_changed,
    ConnectionCheckRequested: connection_check_requested,
    MappingCheckRequested: mapping_check_requested,
    PushRequested: push_requested,
    PushCancelRequested: push_cancel_requested,
    CatalogRequested: catalog_requested,
    RevertRequested: revert_requested,
}
"""Handlers of one message. A number that one returns is that of the results or answers which it published besides."""

REPLAYABLE = (PushRequested, RevertRequested)
"""The handlers of these also take the Replay by which the message came, if any."""

BATCH_HANDLERS: Mapping[type[Message], Callable[[Context, Sequence[Any]], None]] = {
    MappingChanged: mappings_changed,
}
"""Handlers of several messages in one transaction, since these kinds come in large numbers."""
