"""The limit of what is on its way to the broker at once; more is sent when that is confirmed."""

from collections.abc import Iterator, Sequence

from messages.wire import Wire

MESSAGES = 200
BYTES = 16 * 1024 * 1024


def windows(wires: Sequence[Wire]) -> Iterator[list[Wire]]:
    """Split, in order, into at most so many messages and bytes of bodies each; a single message may be larger."""
    window, size = list[Wire](), 0
    for wire in wires:
        if window and (len(window) == MESSAGES or size + len(wire.body) > BYTES):
            yield window
            window, size = [], 0
        window.append(wire)
        size += len(wire.body)
    if window:
        yield window
