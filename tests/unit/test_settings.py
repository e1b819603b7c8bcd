"""Settings: what the environment may say, and what is told when it cannot work."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from messages import generate_keypair
from store.database_url import check_url
from worker.setting_names import PREFIX
from worker.settings import Settings, SettingsError, load, unknown_variables

MINIMUM = {"client_id": "7e0b6d0c-6c1b-4c57-9d8f-1f6f0f8f3f10", "seal_keys": generate_keypair().private}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine, and no `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
        monkeypatch.delenv(f"{PREFIX}{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)


def _problems(**overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(overrides)
    return caught.value.problems


def test_nothing_needs_to_be_set_to_try_it() -> None:
    """Without any setting there is an embedded worker on a SQLite file, which lacks only what is the vendor's own."""
    settings = load()
    assert settings.is_embedded
    assert settings.database_url.get_secret_value() == "sqlite:///phin-connectwise.db"
    assert settings.retry_for == timedelta(hours=1)
    with pytest.raises(SettingsError) as caught:
        settings.require("client_id", "seal_keys")
    assert caught.value.problems == [f"{PREFIX}CLIENT_ID is not set", f"{PREFIX}SEAL_KEYS is not set"]
    assert load(MINIMUM).require("client_id", "seal_keys").client_id == MINIMUM["client_id"]


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment sets everything by variables."""
    _set(
        monkeypatch,
        broker_url="amqps://worker:secret@broker/billing",
        database_url="postgresql://worker:secret@db/phin",
        allow_private_hosts=" cw.internal, 10.1.0.0/16,",
        results_queue="",
        retry_for="90",
        partners_at_once="8",
    )
    settings = load()
    assert not settings.is_embedded
    assert settings.broker_url.get_secret_value() == "amqps://worker:secret@broker/billing"
    assert settings.allow_private_hosts == ("cw.internal", "10.1.0.0/16")
    assert settings.results_queue is None
    assert (settings.retry_for, settings.partners_at_once) == (timedelta(seconds=90), 8)


SEVERAL_HOSTS = {
    "postgresql://u:p@a:1,b:2/db": ("a,b", "1,2"),
    "postgresql://u:p%40@a,b:2/db?sslmode=disable": ("a,b", ",2"),
    "postgresql://u:p/?#@a,b/db?target_session_attrs=primary": ("a,b", ","),
    "postgresql+psycopg://a:1,b:2/db": ("a,b", "1,2"),
    "postgresql://u:p@[::1]:1,[fe80::1]:2/db": ("::1,fe80::1", "1,2"),
    "postgresql://u:p@/db?host=a:1&host=b:2": ("a,b", "1,2"),
    "postgresql://u:p@/db?host=a,b&port=1,2": ("a,b", "1,2"),
}


@pytest.mark.parametrize(("url", "expected"), SEVERAL_HOSTS.items(), ids=SEVERAL_HOSTS)
def test_a_database_may_have_several_hosts(url: str, expected: tuple[str, str]) -> None:
    """A primary and its standbys are named as libpq or SQLAlchemy name them."""
    given = check_url(load({"database_url": url}).database_url.get_secret_value())
    _, arguments = given.get_dialect()().create_connect_args(given)
    assert (arguments["host"], arguments["port"]) == expected


def test_a_secret_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Container secrets are files; the line end that editors add is no part of them."""
    secret = tmp_path / "secret"
    secret.write_text("postgresql://worker:secret@db/phin\n")
    _set(monkeypatch, database_url_file=str(secret))
    assert load().database_url.get_secret_value() == "postgresql://worker:secret@db/phin"


def test_the_caller_comes_first_then_the_environment_then_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The nearer source wins, and a file of a developer never overrides a deployment."""
    (tmp_path / ".env").write_text(
        f"{PREFIX}LOG_LEVEL=debug\n{PREFIX}LOG_FORMAT=console\n{PREFIX}QUEUE_PREFIX=env-file\n"
    )
    _set(monkeypatch, log_format="json", queue_prefix="environment")
    settings = load({"queue_prefix": "caller"})
    assert (settings.log_level, settings.log_format, settings.queue_prefix) == ("debug", "json", "caller")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("broker_url", "http://u:hunter2@broker", "is neither local: nor amqp(s)://"),
        ("broker_url", "amqp://", "is neither local: nor amqp(s)://"),
        ("database_url", "mysql://u:hunter2@db", "is neither sqlite:///file nor postgresql://"),
        ("database_url", "postgresql://u:hunter2@db/phin?sslmode=require", "use sslmode=verify-full"),
        ("database_url", "postgresql://u:hunter2@db/phin?sslmode=verify-ca", "use sslmode=verify-full"),
        ("database_url", "postgresql://u:hunter2@db/phin?sslmode=prefer", "use sslmode=verify-full"),
        ("database_url", "postgresql://u:hunter2@db/phin?sslmode=allow", "use sslmode=verify-full"),
        ("database_url", "postgresql://u:hunter2@a,b/phin?sslmode=require", "use sslmode=verify-full"),
        ("database_url", "postgresql://u:hunter2@a:1,b:x/phin", "is neither sqlite:///file nor postgresql://"),
        ("database_url", "postgresql://u:hunter2@a,/phin", "is neither sqlite:///file nor postgresql://"),
        ("database_url", "postgresql://u:hunter2@/phin?host=a:1&host=b:x", "is neither sqlite:///file nor"),
        ("database_url", "postgresql://u:hunter2@/phin", "is neither sqlite:///file nor postgresql://"),
        ("broker_ca_file", "/hunter2/missing.pem", "names a file that cannot be read"),
        ("broker_ca_file", __file__, "without certificates in PEM form"),
        ("seal_keys", "hunter2", "phin-connectwise keys generate"),
        ("queue_prefix", "hunter2 and blanks", "may hold letters, digits, . _ - only, at most 64"),
        ("client_id", "hunter2", "is not a GUID"),
        ("api_version", "v2025_8", "is not a year and a release, such as 2025.8"),
        ("api_version", "2025.8; x", "is not a year and a release, such as 2025.8"),
        ("results_queue", "hunter2" * 40, "is longer than the 255 bytes"),
        ("partners_at_once", "0", "greater than or equal to 1"),
        ("retry_for", "0", "greater than 0 seconds"),
        ("retry_for", "hunter2", "is not a number of seconds"),
        ("retry_for", "inf", "may not exceed"),
        ("call_timeout", "-1", "greater than 0"),
        ("log_level", "hunter2", "'debug', 'info'"),
    ],
)
def test_a_setting_that_cannot_work_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The operator reads which variable to correct and how; a password in it stays out of the log."""
    _set(monkeypatch, **{name: value})
    [problem] = _problems()
    assert problem.startswith(f"{PREFIX}{name.upper()}")
    assert says in problem
    assert "hunter2" not in problem


def test_all_that_cannot_work_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody restarts a container once for each slip."""
    _set(monkeypatch, broker_url="nonsense", log_level="loud")
    assert len(_problems(partners_at_once=0)) == 3


def test_a_file_that_cannot_be_read_or_is_one_too_many_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret that was not mounted, or is given twice, is not guessed."""
    _set(monkeypatch, seal_keys_file=str(tmp_path / "missing"), client_id="x", client_id_file=str(tmp_path))
    assert _problems() == [
        f"{PREFIX}CLIENT_ID and {PREFIX}CLIENT_ID_FILE are both set; keep one",
        f"{PREFIX}SEAL_KEYS_FILE names a file that cannot be read",
    ]


def test_a_file_that_is_no_text_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder or a binary file, as a wrong mount gives, is a problem of the setting like any other."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    _set(monkeypatch, client_id_file=str(tmp_path), seal_keys_file=str(binary))
    assert _problems() == [
        f"{PREFIX}CLIENT_ID_FILE names a file that cannot be read",
        f"{PREFIX}SEAL_KEYS_FILE names a file that is not UTF-8 text",
    ]


def test_the_env_file_can_name_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line `…_FILE` in `.env` is read like the variable, and the environment goes before it."""
    (tmp_path / "prefix").write_text("from-a-file\n")
    (tmp_path / ".env").write_text(f"{PREFIX}QUEUE_PREFIX_FILE=prefix\n")
    assert load().queue_prefix == "from-a-file"
    _set(monkeypatch, queue_prefix="environment")
    assert load().queue_prefix == "environment"


def test_what_is_missing_is_told_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files, values and missing settings are one list; an empty value is a missing one."""
    _set(monkeypatch, database_url_file=str(tmp_path / "missing"), log_level="loud", client_id="")
    with pytest.raises(SettingsError) as caught:
        load(required=("client_id",), required_if_embedded=("seal_keys",))
    assert [problem.split()[0].rstrip(":") for problem in caught.value.problems] == [
        f"{PREFIX}DATABASE_URL_FILE",
        f"{PREFIX}LOG_LEVEL",
        f"{PREFIX}CLIENT_ID",
        f"{PREFIX}SEAL_KEYS",
    ]
    with pytest.raises(SettingsError) as caught:
        load({"broker_url": "amqp://broker"}, required_if_embedded=("seal_keys",))
    assert not [problem for problem in caught.value.problems if "SEAL_KEYS" in problem]


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable with our prefix that is no setting is named, wherever it is set."""
    (tmp_path / ".env").write_text(f"{PREFIX}SEAL_KEY=x\n{PREFIX}LOG_LEVEL=info\nOTHER=x\n")
    _set(monkeypatch, brokr_url="local:", client_id_file="x")
    assert unknown_variables() == [f"{PREFIX}BROKR_URL", f"{PREFIX}SEAL_KEY"]


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are printed by accident show no password and no key."""
    _set(monkeypatch, broker_url="amqp://u:hunter2@b/", database_url="postgresql://u:hunter2@d/p")
    settings = load(MINIMUM)
    assert "hunter2" not in repr(settings)
    assert MINIMUM["seal_keys"] not in f"{settings!r} {settings}"
