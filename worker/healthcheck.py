"""The check of a container: exit code 0 if the worker in it is ready, by its status server.

It imports nothing of the worker, as it runs every few seconds and each time anew.
"""

import os
import socket
import sys

DEFAULT = "127.0.0.1:9464"
SECONDS = 2.0


def main() -> int:
    """Ask `/readyz`. Prints the troubles if there are some."""
    host, _, port = os.environ.get("PHIN_CONNECTWISE_STATUS_ADDRESS", DEFAULT).rpartition(":")
    # A server that listens on all addresses does so on this one.
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104
    try:
        with socket.create_connection((here, int(port)), SECONDS) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except (OSError, ValueError) as error:
        print(f"the status server does not answer: {error}")  # noqa: T201 - Docker shows it
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    print(body.decode(errors="replace").strip())  # noqa: T201 - Docker shows it
    return 0 if b" 200 " in head.partition(b"\r\n")[0] else 1


if __name__ == "__main__":
    sys.exit(main())
