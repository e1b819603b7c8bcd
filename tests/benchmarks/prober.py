"""Asks a status server as a probe does, on a new connection every 50 ms, until its standard input ends.

Prints the seconds of each answer as JSON. It is a process of its own and imports nothing of ours: what is measured is
the worker, not who asks.
"""

import json
import select
import socket
import sys
from time import perf_counter

EVERY_SECONDS, WITHIN_SECONDS = 0.05, 10.0


def ask(port: int, path: str) -> float:
    """The seconds from connecting to the end of the answer. Raises RuntimeError unless that is 200."""
    began = perf_counter()
    with socket.create_connection(("127.0.0.1", port), WITHIN_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    seconds = perf_counter() - began
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise RuntimeError(answer.decode(errors="replace"))
    return seconds


def main() -> None:
    """Arguments: the port and the path."""
    port, path = int(sys.argv[1]), sys.argv[2]
    times = []
    while not select.select([sys.stdin], [], [], EVERY_SECONDS)[0]:
        times.append(ask(port, path))
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()
