"""A process that has our modules loaded, and forks itself for each `python -m MODULE …` that a test asks for.

What is forked is a process like any other, with an environment, a folder, streams, signals and an exit code of its own;
it only need not load what it needs, which takes longer than most commands do. See `tests.support.forked`.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from worker import cli

LOADED = (
    "alembic.command",
    "cwclient.simulator",
    "kombu.transport.pyamqp",
    "pika.adapters.blocking_connection",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "store.migrate",
    "uvicorn.lifespan.off",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "worker.app",
    *(f"worker.cli.{module.name}" for module in iter_modules(cli.__path__) if module.name != "__main__"),
    "worker.messaging.rabbitmq",
    "worker.rules.problems",
)
# More than the socket takes at once.
REQUEST_BYTES = 1_000_000


def main() -> None:
    """Serve the test process on standard input until it ends; in each forked process, run what was asked for."""
    for name in LOADED:
        import_module(name)
    # What is loaded stays: the garbage collectors of the forked need not look at it, which would copy its pages.
    gc.collect()
    gc.freeze()
    asked = serve(socket.socket(fileno=os.dup(0)))
    if asked is not None:
        runpy.run_module(asked, run_name="__main__", alter_sys=True)


def serve(control: socket.socket) -> str | None:
    """Fork at each request; return the module to run in the process that is to run it, None at the end."""
    watching: set[int] = set()
    while True:
        request, files, *_ = socket.recv_fds(control, REQUEST_BYTES, 4)
        # Those that have ended are let go, so that the time they took counts as that of the tests.
        watching -= {pid for pid in watching if os.waitpid(pid, os.WNOHANG)[0]}
        if not request:
            return None
        if (watcher := os.fork()) == 0:
            control.close()
            return watch(json.loads(request), files)
        watching.add(watcher)
        for file in files:
            os.close(file)


def watch(request: Any, files: list[int]) -> str:
    """Fork once more, and tell how that ends; return the module to run in the process that is to run it."""
    *streams, reply = files
    if (child := os.fork()) == 0:
        os.close(reply)
        become(request, streams)
        return str(request["module"])
    for stream in (0, *streams):
        os.close(stream)
    with socket.socket(fileno=reply) as answer:
        answer.sendall(f"{child}\n".encode())
        threading.Thread(target=end_with, args=(answer, child), daemon=True).start()
        _, status = os.waitpid(child, 0)
        with suppress(BrokenPipeError):
            answer.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def end_with(answer: socket.socket, child: int) -> None:
    """Kill the process once nobody is at the other end, from where nothing ever comes."""
    with suppress(ConnectionError):
        answer.recv(1)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def become(request: Any, streams: list[int]) -> None:
    """Take on the streams, environment, folder and arguments that were given."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Those of the fork server remember whether they could seek.
    said = sys.stdout.encoding
    sys.stdin = os.fdopen(0, encoding=said, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=said, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding=said, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["module"], *request["arguments"]]


if __name__ == "__main__":
    main()
