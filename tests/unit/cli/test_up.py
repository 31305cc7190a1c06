"""What `hermes up` says before it starts anything."""

import pytest

from infra.local.ports import Ports
from infra.local.stack import ROOT, Stack, StackError
from tests.sockets import listening

CARRIER = (
    '[[carriers]]\nname = "{name}"\nhosts = ["smsc.example:2775"]\nsystem_id = "us"\n'
    'password = "env:TELIA_PW"\n'
)


@pytest.fixture
def here(in_empty_directory, monkeypatch):
    for name in ("HERMES_CARRIERS", "TELIA_PW"):
        monkeypatch.delenv(name, raising=False)
    return in_empty_directory / "hermes.toml"


@pytest.fixture
def up(run, monkeypatch):
    """Runs the command up to where it would start something; whether it came there, and what it
    said."""
    came = []

    def start(self, **options):
        came.append(self)
        raise StackError("far enough")

    monkeypatch.setattr(Stack, "start", start)

    def up(*arguments):
        result = run("up", *arguments)
        return bool(came), result

    return up


def test_a_file_of_ones_own_is_said_not_to_be_used(here, up):
    here.write_text(CARRIER.format(name="simulator") + CARRIER.format(name="telia"))
    came, result = up()
    assert came
    assert f"The stack has the settings of {ROOT / 'hermes.toml'}" in result.output
    assert "Left out: telia. Once it is up: hermes carriers add" in result.output


def test_the_command_for_one_carrier_can_be_copied(here, up):
    here.write_text(CARRIER.format(name="telia"))
    assert "Left out: telia. Once it is up: hermes carriers add hermes.toml" in up()[1].output


def test_without_a_file_nothing_is_said_of_one(here, up):
    came, result = up()
    assert came
    assert "The stack has the settings of" not in result.output


def test_a_file_that_is_named_is_used_and_must_have_its_secrets(here, up, monkeypatch):
    here.write_text(CARRIER.format(name="telia"))
    monkeypatch.setenv("HERMES_CONFIG", str(here))
    came, result = up()
    assert not came
    assert result.exit_code == 1
    assert "carriers.0.password" in result.output
    assert "TELIA_PW is not set" in result.output
    monkeypatch.setenv("TELIA_PW", "secret")
    came, result = up()
    assert came
    assert "Left out" not in result.output


def test_a_file_that_is_no_toml(here, up):
    here.write_text("[api\n")
    came, result = up()
    assert not came
    assert result.exit_code == 1
    assert "hermes.toml is no TOML" in result.output
    assert "line 1" in result.output


def test_all_ports_that_are_taken_are_said_at_once(here, run, tmp_path):
    ports = Ports.free()
    options = [f"--port={name}={port}" for name, port in ports]
    with listening(ports.api), listening(ports.mail):
        result = run("up", "--data-dir", str(tmp_path / "data"), *options)
    assert result.exit_code == 1
    assert f"port {ports.api} (api) is in use" in result.output
    assert f"port {ports.mail} (mail) is in use" in result.output
    assert "--port api=NUMBER --port mail=NUMBER" in result.output
