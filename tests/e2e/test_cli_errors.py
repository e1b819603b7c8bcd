"""Expected trouble: an exit code of its own, words instead of a traceback, and never a value of a setting."""

import json
from pathlib import Path

import pytest

from messages import SealKey, generate_keypair
from tests.support.commands import run, run_alone
from tests.support.partners import make_known
from worker.cli import sample

SETTINGS = {
    "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
    "SEAL_KEYS": generate_keypair().private,
    "DATABASE_URL": "sqlite:///store.db",
}
AWAY = {"BROKER_URL": "amqp://guest:hunter2@127.0.0.1:1/"}
PUSH = ("push", "--partner", "msp-1", "--period", "2026-11", "--counts", sample.COUNTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a migrated SQLite file."""
    assert run("db", "upgrade", folder=tmp_path, settings=SETTINGS).returncode == 0
    return tmp_path


def test_all_unusable_settings_are_named_at_once(tmp_path: Path) -> None:
    """Settings that cannot work end every command with 5, named one a line, without their values."""
    wrong = {
        "BROKER_URL": "http://hunter2",
        "SEAL_KEYS": "hunter2",
        "DATABASE_URL": "mysql://hunter2",
        "LOG_LEVEL": "x",
        "CLIENT_ID": SETTINGS["CLIENT_ID"],
    }
    for command in (("worker",), ("status", "--partner", "msp-1"), ("db", "check")):
        done = run_alone(*command, folder=tmp_path, settings=wrong)
        assert done.returncode == 5
        assert done.stdout == ""
        assert sum(line.startswith("PHIN_CONNECTWISE_") for line in done.stderr.splitlines()) == 4
        assert done.stderr.splitlines()[-1].startswith("`phin-connectwise --help` names all settings")
        assert "hunter2" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_worker_names_what_is_missing_and_what_is_misspelt(folder: Path) -> None:
    """`worker`, and a push that works without a broker, name missing and wrong settings together."""
    for command in (("worker",), PUSH):
        done = run(*command, folder=folder, settings={"DATABASE_URL": SETTINGS["DATABASE_URL"], "LOG_LEVEL": "x"})
        assert done.returncode == 5
        for name in ("LOG_LEVEL", "CLIENT_ID", "SEAL_KEYS"):
            assert f"PHIN_CONNECTWISE_{name}" in done.stderr
    no_tables = SETTINGS | {"DATABASE_URL": "sqlite:///another.db", "BROKR_URL": "amqp://hunter2"}
    done = run("worker", folder=folder, settings=no_tables)
    assert "PHIN_CONNECTWISE_BROKR_URL is no setting" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_missing_seal_key_is_named(folder: Path) -> None:
    """A command names the setting that it needs and lacks: connecting needs SEAL_KEYS."""
    options = ("--partner", "p", "--site", "na.myconnectwise.net", "--company-identifier", "c", "--public-key", "k")
    settings = {"DATABASE_URL": SETTINGS["DATABASE_URL"]}
    done = run("connection", "set", *options, folder=folder, settings=settings, typed="key\n")
    assert done.returncode == 5
    assert "PHIN_CONNECTWISE_SEAL_KEYS is not set" in done.stderr


def test_missing_tables_name_the_command_that_makes_them(tmp_path: Path) -> None:
    """Without tables every command, and the worker, ends with 4 and says `db upgrade`, as does `db check --json`."""
    for command in (("worker",), PUSH, ("mapping", "list", "--partner", "msp-1")):
        done = run(*command, folder=tmp_path, settings=SETTINGS)
        assert done.returncode == 4
        assert "run `phin-connectwise db upgrade`" in done.stderr
        assert "Traceback" not in done.stderr
    checked = run("db", "check", "--json", folder=tmp_path, settings=SETTINGS)
    assert checked.returncode == 4
    assert json.loads(checked.stdout)["ok"] is False


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    """A database that cannot be reached ends a command with 4, and no password is shown."""
    settings = SETTINGS | {"DATABASE_URL": "postgresql://phin:hunter2@127.0.0.1:1/phin"}
    done = run("status", "--partner", "msp-1", folder=tmp_path, settings=settings)
    assert done.returncode == 4
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_is_away_is_named_without_its_password(folder: Path) -> None:
    """RabbitMQ that cannot be reached ends publishing and topology commands with 3, and no password is shown."""
    make_known(f"sqlite:///{folder}/store.db", "msp-1")
    for command in (PUSH, ("topology", "declare"), ("topology", "check")):
        done = run(*command, folder=folder, settings=SETTINGS | AWAY)
        assert done.returncode == 3
        assert "127.0.0.1:1" in done.stderr
        assert "hunter2" not in done.stderr
        assert "Traceback" not in done.stderr
    assert json.loads(run("topology", "check", "--json", folder=folder, settings=SETTINGS | AWAY).stdout)["ok"] is False


def test_a_useless_file_sends_nothing(folder: Path) -> None:
    """A CSV file with mistakes ends with 2, names them all, and nothing is pushed."""
    counts = folder / "counts.csv"
    counts.write_text("company_id,company_name,billable_users\nc-1,Acme,12.5\nc-1,Acme,x\n", "utf-8")
    done = run(*PUSH[:-1], counts, folder=folder, settings=SETTINGS)
    assert done.returncode == 2
    assert 'counts.csv line 2, column billable_users: "12.5" is not a whole number from 0 to 1,000,000' in done.stderr
    assert 'counts.csv line 3, column company_id: "c-1" is there twice, first on line 2' in done.stderr
    assert done.stderr.splitlines()[-1] == "Nothing was sent."
    assert "No partner msp-1 is known" in run("status", "--partner", "msp-1", folder=folder, settings=SETTINGS).stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("push", "--partner", "p", "--period", "2026-13", "--counts", str(sample.COUNTS)), "billing period"),
        (("push", "--partner", "p", "--period", "2026-11", "--counts", "none.csv"), "none.csv"),
        (("push", "--partner", " ", "--period", "2026-11", "--counts", str(sample.COUNTS)), "--partner"),
        (("mapping", "list", "--partner", ""), "is empty"),
        (("mapping", "set", "--partner", "p", "--company", "c", "--cw-company", "-5"), "--cw-company"),
        (("push", "--partner", "p", "--period", "2014-12", "--counts", str(sample.COUNTS)), "starts before 2015"),
        (("push", "--partner", "p", "--period", "2226-11", "--counts", str(sample.COUNTS)), "starts more than 100"),
        (("demo", "--simulator-url", "https://127.0.0.1:1"), "--ca-file"),
        (("push", "--partner", "p"), "Usage: phin-connectwise push [OPTIONS]"),
        (("push", "--partner", "p"), "Missing option '--period', '--counts'."),
        (("mapping", "set", "--addition", "4"), "'--partner', '--company'."),
        (("mapping", "import"), "'--partner', 'file'."),
        (("pusch",), "No such command"),
    ],
)
def test_wrong_usage_is_explained(folder: Path, command: tuple[str, ...], said: str) -> None:
    """An argument that cannot be used ends with 2 and is named."""
    done = run(*command, folder=folder, settings=SETTINGS)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_private_key_is_checked_before_it_is_sent(folder: Path) -> None:
    """An empty private key, or one with a blank at its end, is refused and not shown."""
    options = ("--partner", "p", "--site", "na.myconnectwise.net", "--company-identifier", "c", "--public-key", "k")
    for typed in ("\n", "hunter2 \n"):
        done = run("connection", "set", *options, folder=folder, settings=SETTINGS, typed=typed)
        assert done.returncode == 2
        assert "the private key is empty, or has a blank" in " ".join(done.stderr.replace("│", " ").split())
        assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\x30\x82\x03\xff", "is no PEM text"),
        (b"nothing", "is not a PEM text of certificates"),
        (b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", "holds a private key"),
        (b"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n", "has a certificate that is damaged"),
    ],
    ids=["missing", "DER", "text", "key", "damaged"],
)
def test_a_wrong_certificate_authority_is_named_with_what_to_give(
    folder: Path, content: bytes | None, said: str
) -> None:
    """The wrong file is named with its option, why, and what to give, before the private key is asked for."""
    if content is not None:
        folder.joinpath("ca.pem").write_bytes(content)
    options = ("--partner", "p", "--site", "na.myconnectwise.net", "--company-identifier", "c", "--public-key", "k")
    done = run("connection", "set", *options, "--ca-file", "ca.pem", folder=folder, settings=SETTINGS)
    assert done.returncode == 2
    shown = " ".join(done.stderr.replace("│", " ").split())
    assert f"Invalid value for --ca-file: ca.pem {said}" in shown
    assert "give the certificate of the authority that issued the server's, in PEM" in shown
    assert "hunter2" not in shown


def test_seal_keys_are_made_for_both_sides(tmp_path: Path) -> None:
    """`keys generate` gives a private line that the worker takes, and the public half that the platform seals with."""
    made = json.loads(run("keys", "generate", "--json", folder=tmp_path).stdout)
    assert SealKey.parse(made["public"]).key_id == made["key_id"]
    told = run("keys", "generate", folder=tmp_path).stdout.splitlines()
    settings = SETTINGS | {"SEAL_KEYS": told[1].removeprefix("PHIN_CONNECTWISE_SEAL_KEYS=")}
    assert run("db", "upgrade", folder=tmp_path, settings=settings).returncode == 0


def test_local_mode_needs_no_topology(folder: Path) -> None:
    """With `local:` there is nothing to declare, and the commands say so."""
    for command in ("declare", "check"):
        done = run("topology", command, folder=folder, settings=SETTINGS)
        assert (done.returncode, done.stdout) == (0, "Nothing to do: `local:` needs no RabbitMQ.\n")


def test_help_teaches(tmp_path: Path) -> None:
    """`--help` names every setting, the exit codes and the way from nothing to a push."""
    told = run_alone("--help", folder=tmp_path).stdout
    assert "phin-connectwise demo" in told
    assert "PHIN_CONNECTWISE_SEAL_KEYS" in told
    assert "Exit codes" in told
