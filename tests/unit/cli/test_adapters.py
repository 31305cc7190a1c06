"""`hermes adapters`, against the API as it is served."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

from adapters.wasm.store.management import AdapterStore
from adapters.wasm.upload.lifecycle import Lifecycle
from handlers.api.app import create_app
from infra.cli import adapter_folder
from infra.cli.main import hermes
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.wasm.bundles import CONFIGURED, SETTINGS, FakeTrial, bundle, component, manifest
from tests.unit.wasm.bundles import zipped as zip_of
from tests.waiting import until


async def taken(component):
    """Looks into nothing."""


class World:
    """The API in a thread, a tenant's key in the environment, and a directory to work in."""

    def __init__(self, directory):
        self.directory = directory
        self.store = AdapterStore(directory / "hermes.db", directory / "data")
        self.trial = FakeTrial()
        app = create_app(
            FakeKeys({"hk_alice": "alice"}), FakeLog(), FakeEngine(),
            adapters=Lifecycle(self.store, self.trial, inspect=taken),
        )  # fmt: skip
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)

    def run(self, *arguments, **options):
        return CliRunner().invoke(hermes, ["adapters", *map(str, arguments)], **options)

    def ask(self, *arguments):
        """The JSON that a command prints."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def zipped(self, version="1.0.0", **changes):
        file = self.directory / f"{version}.zip"
        file.write_bytes(zip_of(version=version, **changes))
        return file

    def in_use(self):
        self.ask("publish", self.zipped())
        self.ask("configure", "acme", *(f"{key}={value}" for key, value in CONFIGURED.items()))
        self.ask("activate", "acme")


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path)
    made.thread.start()
    until(lambda: made.server.started)
    port = made.server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("HERMES_API_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HERMES_API_KEY", "hk_alice")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    yield made
    made.server.should_exit = True
    made.thread.join()


def test_from_a_zip_to_use_and_back(world):
    published = world.run("publish", world.zipped())
    assert published.exit_code == 0, published.output
    assert "acme 1.0.0 is published" in published.stdout
    assert "Next: hermes adapters configure acme account=… token=…" in published.stderr
    (world.directory / "token.txt").write_text("hush-hush-hush\n")
    configured = world.run("configure", "acme", "account=AC1", "token=@token.txt")
    assert configured.exit_code == 0, configured.output
    assert "hush" not in configured.output
    assert world.trial.tried[-1].secrets["token"].get_secret_value() == "hush-hush-hush"
    assert (
        "acme 1.0.0 is in use, with priority 5"
        in world.run("activate", "acme", "--priority", 5).stdout
    )
    newer = world.run("publish", world.zipped("1.1.0"), "--activate")
    assert "acme 1.1.0 is published and in use" in newer.stdout
    assert "acme 1.0.0 is in use" in world.run("rollback", "acme").stdout
    assert "acme is out of use" in world.run("deactivate", "acme").stdout
    assert "acme 1.0.0 is in use" in world.run("rollback", "acme").stdout
    assert (
        "acme 1.1.0 is removed" in world.run("remove", "acme", "--version", "1.1.0", "--yes").stdout
    )
    assert "acme is removed" in world.run("remove", "acme", "--yes").stdout
    assert "No adapters" in world.run("list").stdout


def test_what_is_listed_and_shown(world):
    world.store.offer([bundle(name="ours", summary="Comes with it.")])
    world.in_use()
    listed = world.run("list").stdout
    assert listed.splitlines()[1].split()[:5] == ["acme", "active", "1.0.0", "sms", "100"]
    assert listed.splitlines()[2].split()[:3] == ["ours", "available", "sms"]
    shown = world.run("show", "acme").stdout
    for line in ("AC1", "set", "3 (default)", "not set", "active"):
        assert line in shown
    assert "hush" not in shown
    assert "comes with Hermes" in world.run("show", "ours").stdout
    assert "missing" in world.run("show", "ours").stdout
    assert [each["name"] for each in world.ask("list")] == ["acme", "ours"]
    assert world.ask("show", "acme")["configuration"]["token"]["set"] is True


@pytest.mark.parametrize(
    ("arguments", "given", "values"),
    [
        (["region=eu1", "retries=5"], None, {"account": "AC1", "region": "eu1", "retries": 5}),
        (["account=a=b"], None, {"account": "a=b", "retries": 3}),
        (["account=-"], "from a pipe\n", {"account": "from a pipe", "retries": 3}),
        (["--ask", "account"], "typed\n", {"account": "typed", "retries": 3}),
    ],
)
def test_how_values_are_given(world, arguments, given, values):
    world.in_use()
    result = world.run("configure", "acme", *arguments, input=given)
    assert result.exit_code == 0, result.output
    assert dict(world.trial.tried[-1].values) == values


@pytest.mark.parametrize("columns", ["60", "100", "200"])
def test_a_narrow_terminal_cuts_what_is_least_needed(world, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    long = {**SETTINGS["account"], "description": "x" * 300}
    settings = {**SETTINGS, "messaging_service_sid": long}
    world.store.offer([bundle(name="ours", summary="y" * 200, configuration=settings)])
    for command, words in (
        (["list"], {"ours", "available", "sms"}),
        (["show", "ours"], {"messaging_service_sid", "missing", "3"}),
    ):
        lines = world.run(*command).stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        assert words <= set(" ".join(lines).split()), lines


def test_a_value_is_removed(world):
    world.in_use()
    world.ask("configure", "acme", "region=eu1")
    world.ask("configure", "acme", "--unset", "region")
    assert world.ask("show", "acme")["configuration"]["region"]["set"] is False


def test_what_is_asked_for_is_not_shown(world):
    world.in_use()
    result = world.run("configure", "acme", "--ask", "token", input="my-own-secret\n")
    assert result.exit_code == 0, result.output
    assert "my-own-secret" not in result.output
    assert world.trial.tried[-1].secrets["token"].get_secret_value() == "my-own-secret"


def test_a_version_that_needs_more_is_configured_before(world):
    world.in_use()
    more = {**SETTINGS, "sender": {"type": "string", "required": True, "description": "From."}}
    world.ask("publish", world.zipped("2.0.0", configuration=more))
    refused = world.run("activate", "acme")
    assert refused.exit_code == 1
    assert "/configuration/sender" in refused.output
    result = world.run("configure", "acme", "sender=Acme", "--version", "2.0.0")
    assert result.exit_code == 0, result.output
    assert world.ask("activate", "acme")["active"]["version"] == "2.0.0"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nothing"], 1, "adapter_not_found"),
        (["activate", "acme", "--version", "9.9.9"], 1, "adapter_version_not_found"),
        (["configure", "acme", "acount=x"], 1, "acount is unknown"),
        (["configure", "acme", "retries=many"], 2, "no whole number"),
        (["configure", "acme", "account"], 2, "no KEY=VALUE"),
        (["configure", "acme", "token=@nothing.txt"], 1, "nothing.txt cannot be read"),
        (["configure", "acme"], 2, "name a KEY=VALUE"),
        (["rollback", "acme"], 1, "adapter_no_previous"),
        (["remove", "acme", "--version", "1.0.0", "--yes"], 1, "it is active"),
        (["remove", "acme"], 2, "say --yes"),
        (["publish", "broken.zip"], 1, "archive: it is not a sound zip"),
        (["publish", "nothing.zip"], 2, "does not exist"),
        (["activate", "acme", "--priority", "1001"], 2, "1000"),
        (["test", "nothing"], 1, "no folder with a manifest.json"),
        (["build", "empty"], 1, "manifest.json: No such file"),
        (["new", "Acme"], 2, "2 to 32 of a-z"),
        (["new", "full"], 1, "not empty"),
    ],
)
def test_what_goes_wrong_is_told(world, arguments, code, said):
    world.in_use()
    (world.directory / "broken.zip").write_bytes(b"hello")
    (world.directory / "empty").mkdir()
    (world.directory / "full").mkdir()
    (world.directory / "full" / "file").touch()
    result = world.run(*arguments)
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_the_adapters_own_words_reach_the_terminal(world):
    world.in_use()
    world.trial.says = "the account AC2 is closed"
    result = world.run("configure", "acme", "account=AC2")
    assert result.exit_code == 1
    assert "configure: the account AC2 is closed (adapter_configuration)" in result.output


def test_a_folder_is_built_and_packed_the_same_each_time(world, monkeypatch):
    """The compiler is not asked here: what it makes is there already."""
    folder = world.directory / "acme"
    (folder / "dist").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest()))
    (folder / "dist" / "adapter.wasm").write_bytes(component())
    monkeypatch.setattr("adapters.wasm.sdk.build.build", lambda directory: directory)
    first = world.ask("build", folder)
    content = (folder / "dist" / "acme-1.0.0.zip").read_bytes()
    assert first == {"bundle": str(folder / "dist" / "acme-1.0.0.zip"), "bytes": len(content)}
    assert world.ask("build", folder) == first
    assert (folder / "dist" / "acme-1.0.0.zip").read_bytes() == content
    assert world.ask("publish", folder)["version"] == "1.0.0"


def test_a_new_folder_has_its_own_name_builds_and_passes_its_tests(world):
    made = world.ask("new", "acme-sms")
    assert {"acme-sms/adapter.js", "acme-sms/manifest.json"} <= set(made["files"])
    assert json.loads(Path("acme-sms/manifest.json").read_text())["name"] == "acme-sms"
    template = json.loads((adapter_folder._TEMPLATE / "manifest.json").read_text())["name"]
    for file in made["files"]:
        if not file.endswith(".d.ts"):
            assert template not in Path(file).read_text(), file
    played = world.ask("test", "acme-sms")
    assert played["passed"] > 0
    assert played["failed"] == []
    published = world.run("publish", "acme-sms")
    assert published.exit_code == 0, published.output
    elsewhere = world.run("new", "acme-sms", "--directory", "somewhere/else")
    assert "somewhere/else/manifest.json" in elsewhere.stdout


def test_an_adapter_that_does_something_else_fails_its_tests(world):
    world.ask("new", "acme-sms")
    vectors = Path("acme-sms/vectors/send.json")
    told = json.loads(vectors.read_text())
    told["vectors"][0]["expect"] = {"done": {"ok": False, "code": "internal"}}
    vectors.write_text(json.dumps(told))
    result = world.run("test", "acme-sms")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert json.loads(world.run("test", "acme-sms", "--json").stdout)["failed"]
