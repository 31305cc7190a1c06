"""The operator's key: the settings', or one that every process of a data directory agrees on."""

import subprocess
import sys

import pytest

from infra.operator_key import key_file, known_operator_key, operator_key
from infra.settings import ConfigurationError, Settings, load


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HERMES_ADMIN__KEY", raising=False)
    monkeypatch.setenv("HERMES_DATA_DIR", str(tmp_path / "data"))
    return Settings()


def test_a_key_is_made_once_for_its_owner_only(settings):
    assert known_operator_key(settings) is None
    key = operator_key(settings)
    assert len(key) > 40
    assert operator_key(settings) == known_operator_key(settings) == key
    assert key_file(settings).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.data_dir.iterdir()] == ["operator.key"]


def test_processes_that_start_together_agree(settings, tmp_path):
    script = (
        "import sys; from infra.settings import Settings; from infra.operator_key import *;"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline();"
        "print(operator_key(Settings()))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    keys = {process.communicate()[0] for process in processes}
    assert keys == {operator_key(settings) + "\n"}


def test_the_settings_key_goes_before_the_file(settings, monkeypatch):
    operator_key(settings)
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_from-the-settings")
    assert operator_key(load()) == "hok_from-the-settings"


@pytest.mark.parametrize("key", ["short", "x" * 600, "with a space in it", "clé-clé-clé-clé-clé"])
def test_a_key_that_no_header_could_carry_is_refused(settings, monkeypatch, key):
    monkeypatch.setenv("HERMES_ADMIN__KEY", key)
    with pytest.raises(ConfigurationError, match=r"admin\.key: .*16 to 512") as caught:
        load()
    assert key not in str(caught.value)


def test_an_empty_file_is_told(settings):
    settings.data_dir.mkdir()
    key_file(settings).touch()
    with pytest.raises(ConfigurationError, match="holds no key"):
        operator_key(settings)
