"""Settings are environment variables `PHIN_CONNECTWISE_…`, or in `.env`, each also as `…_FILE` for a secret in a file.

No other file reads the environment. All settings that cannot work are named at once, without their values.
"""

import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from cwclient import API_VERSION, AddressPolicy
from messages import KeyRing
from messages.values import MAX_COUNT
from store.database_url import check_url
from worker.setting_names import PREFIX

EMBEDDED = "local:"
# A worker does not start without these.
NEEDED_TO_WORK = ("client_id", "seal_keys")

MAX_QUEUE_NAME = 255
MAX_PORT = 65_535

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class SettingsError(Exception):
    """Settings that cannot work; `problems` has one line for each, naming the variable but not its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _broker_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if text != EMBEDDED and (urlsplit(text).scheme not in {"amqp", "amqps"} or not urlsplit(text).hostname):
        raise ValueError("is neither local: nor amqp(s)://user:password@host/vhost")
    return url


def _broker_ca_file(path: Path | None) -> Path | None:
    if path is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except ssl.SSLError:
            raise ValueError("names a file without certificates in PEM form") from None
        except OSError:
            raise ValueError("names a file that cannot be read") from None
    return path


def _database_url(url: SecretStr) -> SecretStr:
    try:
        parsed = check_url(url.get_secret_value())
    except ValueError:
        raise ValueError("is neither sqlite:///file nor postgresql://user:password@host/database") from None
    # The other modes do not verify the server, or go on unencrypted if it wants that.
    if "sslmode" in parsed.query and parsed.query["sslmode"] not in {"verify-full", "disable"}:
        raise ValueError(
            "has an sslmode that does not verify the server; use sslmode=verify-full, with sslrootcert=FILE if its"
            " authority is your own (or no sslmode)"
        )
    return url


def _private_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        AddressPolicy(hosts)
    except ValueError:
        raise ValueError("has an entry that is neither a host name nor an address nor a CIDR network") from None
    return hosts


def _client_id(guid: str | None) -> str | None:
    if guid is not None and not _GUID.fullmatch(guid):
        raise ValueError("is not a GUID")
    return guid


def _api_version(version: str) -> str:
    if not re.fullmatch(r"20\d\d\.\d{1,2}", version, re.ASCII):
        raise ValueError("is not a year and a release, such as 2025.8")
    return version


def _queue_prefix(prefix: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", prefix):
        raise ValueError("may hold letters, digits, . _ - only, at most 64")
    return prefix


def _results_queue(name: str | None, info: ValidationInfo) -> str | None:
    prefix = info.data.get("queue_prefix", "")
    if name is not None and len(f"{prefix}{name}".encode()) > MAX_QUEUE_NAME:
        raise ValueError(f"is longer than the {MAX_QUEUE_NAME} bytes that RabbitMQ takes, QUEUE_PREFIX included")
    return name


def _seal_keys(keys: SecretStr | None) -> SecretStr | None:
    if keys is not None:
        try:
            KeyRing.parse(keys.get_secret_value())
        except ValueError as error:
            raise ValueError(f"cannot be used ({error}); make one with `phin-connectwise keys generate`") from None
    return keys


def _seconds(value: object) -> object:
    # The environment gives text, which pydantic would read as an ISO 8601 duration.
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is not a number of seconds") from None


class Address(NamedTuple):
    """The address of a server of ours; port 0 = a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    host, separator, port = value.strip().rpartition(":")
    if not separator or not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > MAX_PORT:
        raise ValueError("is not an address such as 127.0.0.1:9464, or [::1]:9464")
    if not re.fullmatch(r"[A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+\]", host):
        raise ValueError("has a host that is neither a name nor an address; an IPv6 address stands in [ ]")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - ":9464" says so


def address_of(text: str) -> Address:
    """The address that a text such as 127.0.0.1:9464 names. Raises ValueError."""
    if not isinstance(found := _address(text), Address):
        raise ValueError("is not an address such as 127.0.0.1:9464, or [::1]:9464")  # noqa: TRY004 - it is the text that is wrong
    return found


class Settings(BaseSettings):
    """Everything that can be set. Only CLIENT_ID and SEAL_KEYS have no default; the worker does not start without."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    broker_url: Annotated[SecretStr, AfterValidator(_broker_url)] = SecretStr(EMBEDDED)
    broker_ca_file: Annotated[Path | None, AfterValidator(_broker_ca_file)] = None
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr("sqlite:///phin-connectwise.db")
    client_id: Annotated[str | None, AfterValidator(_client_id)] = None
    api_version: Annotated[str, AfterValidator(_api_version)] = API_VERSION
    seal_keys: Annotated[SecretStr | None, AfterValidator(_seal_keys)] = None
    allow_private_hosts: Annotated[tuple[str, ...], NoDecode, AfterValidator(_private_hosts)] = ()
    queue_prefix: Annotated[str, AfterValidator(_queue_prefix)] = ""
    results_queue: Annotated[str | None, AfterValidator(_results_queue)] = "phin.connectwise-results.v1"
    partners_at_once: int = Field(256, ge=1, le=1024)
    retry_for: Annotated[timedelta, BeforeValidator(_seconds)] = Field(timedelta(hours=1), gt=timedelta(0))
    big_jump_share: float = Field(0.5, gt=0, le=1000)
    big_jump_count: int = Field(20, ge=0, le=MAX_COUNT)
    call_timeout: float = Field(60.0, gt=0, le=600)
    status_address: Annotated[Address | None, BeforeValidator(_address)] = Address("127.0.0.1", 9464)
    traces: Literal["off", "otlp"] = "off"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the sources gave
        hosts = values.get("allow_private_hosts")
        if isinstance(hosts, str):
            values["allow_private_hosts"] = tuple(part.strip() for part in hosts.split(",") if part.strip())
        for name in ("broker_ca_file", "results_queue", *NEEDED_TO_WORK):
            value = values.get(name)
            if isinstance(value, str):
                values[name] = value.strip() or None
        return values

    @property
    def is_embedded(self) -> bool:
        """True if there is no broker but the outbox."""
        return self.broker_url.get_secret_value() == EMBEDDED

    def require(self, *names: str) -> Self:
        """Raise SettingsError unless these optional settings are given."""
        missing = [_missing(name) for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError(missing)
        return self


def load(
    overrides: Mapping[str, Any] | None = None,
    required: Sequence[str] = (),
    required_if_embedded: Sequence[str] = (),
) -> Settings:
    """Read the settings: the caller's, then the environment, then `.env`, each of these also by `…_FILE`.

    Raises SettingsError, which names all that cannot work, and what is required (always, or with `local:`) but not set.
    """
    given, unreadable = _given()
    given |= overrides or {}
    # A setting that could not be read has one problem; it is not missing or wrong too.
    unread = {name for name in unreadable if name not in (overrides or {})}
    problems = [unreadable[name] for name in Settings.model_fields if name in unread]
    settings = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        problems += [_problem(detail) for detail in details if not detail["loc"] or detail["loc"][0] not in unread]
    is_embedded = given.get("broker_url", EMBEDDED) == EMBEDDED
    wanted = (*required, *(required_if_embedded if is_embedded else ()))
    problems += [
        _missing(name)
        for name in Settings.model_fields
        if name in wanted and name not in unread and not str(given.get(name) or "").strip()
    ]
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def unknown_variables() -> list[str]:
    """Return variables with our prefix that are no setting, in the environment or `.env`: likely typing errors."""
    known = {f"{PREFIX}{name.upper()}{ending}" for name in Settings.model_fields for ending in ("", "_FILE")}
    given = {name.upper() for source in _sources() for name in source}
    return sorted(name for name in given - known if name.startswith(PREFIX))


def _sources() -> tuple[Mapping[str, str | None], ...]:
    """Return the environment and `.env`, in this order of precedence, with names in lower case."""
    try:
        return EnvSettingsSource(Settings).env_vars, DotEnvSettingsSource(Settings).env_vars
    except (OSError, UnicodeError):
        raise SettingsError([".env cannot be read as UTF-8 text"]) from None


def _given() -> tuple[dict[str, Any], dict[str, str]]:
    """Return the value of each setting that is given, and the problem of each that is unreadable."""
    given: dict[str, Any] = {}
    problems: dict[str, str] = {}
    sources = _sources()
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        for source in sources:
            value, file = source.get(variable.lower()), source.get(f"{variable}_FILE".lower())
            if value is None and file is None:
                continue
            if file is None:
                given[name] = value
            elif value is not None:
                problems[name] = f"{variable} and {variable}_FILE are both set; keep one"
            else:
                try:
                    given[name] = Path(file).read_text(encoding="utf-8").strip()
                except UnicodeError:
                    problems[name] = f"{variable}_FILE names a file that is not UTF-8 text"
                except (OSError, ValueError):
                    problems[name] = f"{variable}_FILE names a file that cannot be read"
            break
    return given, problems


def _missing(name: str) -> str:
    return f"{PREFIX}{name.upper()} is not set"


def _problem(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = str(error["loc"][0]) if error["loc"] else "settings"
    return f"{PREFIX}{name.upper()}: {error['msg'].removeprefix('Value error, ')}"
