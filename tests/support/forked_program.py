"""`phin-connectwise …` for a shell: the fork server whose socket the environment names runs it while this lives.

It loads nothing of ours, which takes longer than most commands do.
"""

import json
import os
import socket
import sys


def main() -> int:
    """Hand over streams, arguments, folder and environment; the exit code."""
    control = socket.socket(fileno=int(os.environ["FORK_SERVER"]))
    mine, theirs = socket.socketpair()
    request = {
        "module": "worker.cli",
        "arguments": sys.argv[1:],
        "folder": str(os.getcwd()),  # noqa: PTH109 - pathlib takes longer to load than all else here
        "environment": dict(os.environ),
    }
    socket.send_fds(control, [json.dumps(request).encode()], [0, 1, 2, theirs.fileno()])
    theirs.close()
    with mine.makefile() as answer:
        _pid, code = answer
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
