"""A whole installation of a run's own: servers, tables, queues, the simulated ConnectWise. All ends with the block."""

import json
import ssl
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from messages import KeyRing, generate_keypair
from messages.values import MAX_COUNT
from store import Database, migrate
from tests.chaos.proxy import Proxy
from tests.chaos.scenario import Site
from tests.support.commands import environment
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ, Standby
from worker.bootstrap import open_broker
from worker.settings import load

CALL_TIMEOUT, RETRY_FOR = 3.0, 600.0
# RabbitMQ closes the channel of a worker that holds a message longer. Less would close those of busy workers too.
CONSUMER_TIMEOUT = 10.0


class Installation:
    """A context manager. `folder` keeps the logs; `environment` is what a worker's process gets.

    The workers reach PostgreSQL through the proxy, which can lead them to the standby.
    """

    def __init__(self, folder: Path, state: Mapping[str, Any]) -> None:
        self._stack = ExitStack()
        self.folder = folder
        self.request_log = folder / "requests.jsonl"
        self._state_file = folder / "state.json"
        self._state_file.write_text(json.dumps(state), "utf-8")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.rabbitmq = stack.enter_context(OwnRabbitMQ(consumer_timeout=CONSUMER_TIMEOUT))
            self.postgresql = stack.enter_context(OwnPostgresql())
            self.standby = stack.enter_context(Standby(self.postgresql))
            self.proxy = stack.enter_context(Proxy(self.postgresql.port))
            self._serve_connectwise(stack)
            # A private key would be found there: it is the partners', not the worker's.
            self._state_file.unlink()
            keys = generate_keypair()
            values = {
                "BROKER_URL": self.rabbitmq.url,
                "DATABASE_URL": self.postgresql.url.replace(f":{self.postgresql.port}/", f":{self.proxy.port}/"),
                "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
                "SEAL_KEYS": keys.private,
                "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
                "CALL_TIMEOUT": str(CALL_TIMEOUT),
                "BIG_JUMP_COUNT": str(MAX_COUNT),
                "RETRY_FOR": str(RETRY_FOR),
                "LOG_LEVEL": "debug",
            }
            self.environment = environment(values)
            settings = load({name.lower(): value for name, value in values.items()})
            self.results_queue = settings.results_queue or ""
            self.site = Site(self._url, self._ca_file.read_text("utf-8"), KeyRing.parse(keys.private).seal_key)
            self.database = Database(self.postgresql.url)
            stack.callback(self.database.close)
            migrate.upgrade(self.database)
            broker = open_broker(settings, self.database)
            stack.callback(broker.close)
            broker.declare()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def set_faults(self, faults: list[dict[str, Any]]) -> None:
        """Switch on exactly these faults of ConnectWise."""
        self._control.put("/_simulator/faults", json=faults).raise_for_status()

    def state(self) -> Any:
        """ConnectWise's state document as it is now."""
        return self._control.get("/_simulator/state").raise_for_status().json()

    def command(self, *arguments: str) -> bytes:
        """Run `phin-connectwise`; its output, stdout and stderr in one. Raises CalledProcessError if it fails."""
        command = [sys.executable, "-m", "worker.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
        ).stdout

    def _serve_connectwise(self, stack: ExitStack) -> None:
        command = [sys.executable, "-m", "cwclient.simulator", "--state", str(self._state_file)]
        command += ["--log", str(self.request_log)]
        # A killed worker's half request is an error there.
        errors = stack.enter_context((self.folder / "simulator.log").open("wb"))
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True))
        stack.callback(process.kill)
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        self._url, self._ca_file = ready["url"], Path(ready["ca_file"])
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        self._control = stack.enter_context(httpx.Client(base_url=self._url, verify=trust, timeout=30.0))
