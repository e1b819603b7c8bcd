"""A RabbitMQ server of a test's own: one node with its own cookie, data and logs."""

import shutil
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
from testcontainers.core.container import DockerContainer

from cwclient.simulator.certificates import TlsFiles
from tests.support.own_servers.base import OwnServer
from tests.support.own_servers.places import Container, Place, Process, free_port
from tests.support.servers import RABBITMQ

# Debian's wrapper on PATH insists on one user and one folder.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")
# A node looks for consumers that hold a message too long once a minute otherwise; no line of rabbitmq.conf sets that.
LOOKS_EACH_SECOND = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit channel_tick_interval 1000"}


class OwnRabbitMQ(OwnServer):
    """A node with the user guest / guest, without plugins.

    With `consumer_timeout`, in seconds, it closes the channel of who holds a message longer; else after half an hour.
    With `definitions` (JSON) it imports these at its start, and has their users instead of its own: guest, an
    administrator, must be among them. `limits`: more lines of its configuration.
    """

    name, package, stop_signal = "RabbitMQ", "rabbitmq-server", signal.SIGTERM

    def __init__(
        self,
        *,
        tls: bool | TlsFiles = False,
        consumer_timeout: float | None = None,
        definitions: str | None = None,
        limits: str = "",
    ) -> None:
        self._control, self._consumer_timeout, self._definitions = ["rabbitmqctl"], consumer_timeout, definitions
        self._limits = limits
        self.has_alarm = False
        super().__init__(tls=tls)
        self.url = f"amqp{'s' if self.tls else ''}://guest:guest@127.0.0.1:{self.port}/"

    def memory_alarm(self, *, on: bool) -> None:
        """Have it believe that it is short of memory: it takes nothing from publishers, and tells them so."""
        self._place.run(*self._control, "set_vm_memory_high_watermark", "0.0000001" if on else "0.4")
        self.has_alarm = on

    @contextmanager
    def consumer_timeout(self, seconds: float) -> Iterator[None]:
        """Have it close channels, of those opened meanwhile, that hold a delivery for longer; by default 30 minutes."""
        self._limit_consumers(round(seconds * 1000), 500)
        try:
            yield
        finally:
            self._limit_consumers(1_800_000, 60_000)

    def _limit_consumers(self, milliseconds: int, every: int) -> None:
        settings = {"consumer_timeout": milliseconds, "channel_tick_interval": every}
        said = ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in settings.items())
        self._place.run(*self._control, "eval", f"{said}.")

    def _process(self) -> Place | None:
        found = shutil.which("rabbitmq-server", path=str(SCRIPTS)) or shutil.which("rabbitmq-server")
        if found is None:
            return None
        node = f"own-{self.port}@localhost"
        self._control = [str(Path(found).with_name("rabbitmqctl")), "-n", node]
        (self.folder / "enabled_plugins").write_text("[].")
        configuration = self._configuration(self.tls, self.port, "127.0.0.1")
        if self._definitions is not None:
            (self.folder / "definitions.json").write_text(self._definitions)
            configuration += f"load_definitions = {self.folder / 'definitions.json'}\n"
        (self.folder / "rabbitmq.conf").write_text(configuration)
        environment = {
            "HOME": str(self.folder),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_NODENAME": node,
            **LOOKS_EACH_SECOND,
        }
        return Process([found], self.folder, environment)

    def _container(self) -> Place:
        inside, tls = 5672, self.tls
        container = DockerContainer(RABBITMQ.image, env=LOOKS_EACH_SECOND)
        if tls is not None:
            tls.key.chmod(0o644)
            for path in tls:
                container = container.with_volume_mapping(str(path), f"/tls/{path.name}")
            tls = TlsFiles(*(Path("/tls") / path.name for path in tls))
        # Beside the image's own configuration, which lets guest in from outside.
        extra = self.folder / "90-own.conf"
        configuration = self._configuration(tls, inside, "0.0.0.0")  # noqa: S104 - inside the container
        if self._definitions is not None:
            definitions = self.folder / "definitions.json"
            definitions.write_text(self._definitions)
            container = container.with_volume_mapping(str(definitions), "/definitions.json")
            configuration += "load_definitions = /definitions.json\n"
        extra.write_text(configuration)
        container = container.with_volume_mapping(str(extra), f"/etc/rabbitmq/conf.d/{extra.name}")
        return Container(container, inside=inside, port=self.port, data="/var/lib/rabbitmq")

    def _configuration(self, tls: TlsFiles | None, port: int, host: str) -> str:
        held = f"consumer_timeout = {self._consumer_timeout * 1000:.0f}\n" if self._consumer_timeout else ""
        held += self._limits
        if tls is None:
            return f"{held}listeners.tcp.own = {host}:{port}\n"
        return (
            f"{held}"
            "listeners.tcp = none\n"
            f"listeners.ssl.own = {host}:{port}\n"
            f"ssl_options.cacertfile = {tls.ca}\n"
            f"ssl_options.certfile = {tls.certificate}\n"
            f"ssl_options.keyfile = {tls.key}\n"
            "ssl_options.verify = verify_none\n"
        )

    def _answers(self) -> bool:
        parameters = pika.URLParameters(self.url)
        if self.tls is not None:
            # For waiting only: a test may have given a certificate of another name.
            parameters.ssl_options = pika.SSLOptions(ssl._create_unverified_context())  # noqa: S323
        try:
            with pika.BlockingConnection(parameters) as connection:
                # A node lets clients in a moment before it can make such a queue.
                channel, name = connection.channel(), f"own-{self.port}-is-up"
                channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
                channel.queue_delete(name)
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True
