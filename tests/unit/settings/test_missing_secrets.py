"""A command reads the secrets that it uses; a process reads all of them, or does not start."""

import subprocess
import sys

import pytest

from infra.local.stack import ROOT
from infra.operator_key import known_operator_key
from infra.settings import ConfigurationError, load, load_for_command

CARRIER = (
    '[[carriers]]\nname = "telia"\nhosts = ["smsc.example:2775"]\nsystem_id = "us"\n'
    'password = "env:TELIA_PW"\n'
)
FILES = {
    "carriers.0.password": CARRIER,
    "email.password": '[email]\npassword = "env:TELIA_PW"\n',
    "admin.key": '[admin]\nkey = "env:TELIA_PW"\n',
    "database_url": 'database_url = "env:TELIA_PW"\n',
    "smpp_journal_url": 'smpp_journal_url = "env:TELIA_PW"\n',
    "number_lookup.authorization": (
        '[number_lookup]\nurl = "https://hlr.example/{number}"\nauthorization = "env:TELIA_PW"\n'
    ),
}
USED = {
    "carriers.0.password": lambda settings: settings.carriers[0].password.get_secret_value(),
    "email.password": lambda settings: settings.email.password.get_secret_value(),
    "admin.key": known_operator_key,
    "database_url": lambda settings: settings.database,
    "smpp_journal_url": lambda settings: settings.smpp_journal,
    "number_lookup.authorization": (
        lambda settings: settings.number_lookup.authorization.get_secret_value()
    ),
}


class Complained(Exception):
    pass


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("HERMES_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("TELIA_PW", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", FILES)
def test_a_process_does_without_none_of_them(directory, path):
    (directory / "hermes.toml").write_text(FILES[path])
    with pytest.raises(ConfigurationError, match=f"^{path}: .*TELIA_PW is not set"):
        load()
    load_for_command(Complained)
    with pytest.raises(ConfigurationError):  # a command before it changes nothing
        load()


@pytest.mark.parametrize("path", FILES)
def test_a_command_hears_of_it_where_it_uses_it(directory, path):
    (directory / "hermes.toml").write_text(FILES[path])
    settings = load_for_command(Complained)
    assert "TELIA_PW" not in repr(settings)
    with pytest.raises(Complained, match="environment variable TELIA_PW is not set"):
        USED[path](settings)


def test_a_secret_that_is_missing_does_not_pass_for_none(directory):
    (directory / "hermes.toml").write_text(FILES["email.password"])
    with pytest.raises(Complained):
        bool(load_for_command(Complained).email.password)


def test_a_secret_that_is_there_is_checked_for_commands_too(directory, monkeypatch):
    (directory / "hermes.toml").write_text(FILES["admin.key"])
    monkeypatch.setenv("TELIA_PW", "short")
    with pytest.raises(ConfigurationError, match="16 to 512"):
        load_for_command(Complained)


@pytest.mark.parametrize("process", ["api", "endpoint", "pool"])
def test_the_processes_themselves_do_not_start(directory, process):
    (directory / "hermes.toml").write_text(CARRIER)
    done = subprocess.run(
        [sys.executable, "-m", f"infra.processes.{process}"],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "TELIA_PW is not set" in done.stderr
