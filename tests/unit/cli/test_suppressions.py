"""`hermes suppressions` against an API with real lists."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner, Result

from adapters.suppression.hashing import Hasher
from domain.suppression import Reason
from infra.cli.suppressions import suppressions
from infra.local.ports import Ports
from tests.unit.suppression.api import ACME, OPERATOR, serve
from tests.unit.suppression.conftest import SECRET, World
from tests.waiting import until

ANNA = "sms=+4520123456"
Command = Callable[..., Result]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The lists that the commands reach."""
    return World(tmp_path / "hermes.db", tmp_path / "images", Hasher(SECRET))


@pytest.fixture
def hermes(world: World, monkeypatch: pytest.MonkeyPatch):
    """The command with acme's key, and --everybody with the operator's."""
    ready = threading.Event()
    port = Ports.free().api

    async def run() -> None:
        api = serve(world)
        tenants, operators = api.app, api.operator_app

        async def both(scope, receive, send):
            app = operators if scope["path"].startswith("/admin/") else tenants
            await app(scope, receive, send)

        config = uvicorn.Config(both, port=port, lifespan="off", log_config=None)
        server.append(uvicorn.Server(config))
        ready.set()
        await server[0].serve()
        await api.close()

    server: list[uvicorn.Server] = []
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    until(lambda: server[0].started)
    monkeypatch.setenv("HERMES_API_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HERMES_API_KEY", ACME)
    monkeypatch.setenv("HERMES_ADMIN__KEY", OPERATOR)
    monkeypatch.setenv("COLUMNS", "140")
    runner = CliRunner()
    yield lambda *arguments, **more: runner.invoke(suppressions, list(arguments), **more)
    server[0].should_exit = True
    thread.join(10)
    for process in world.processes:
        process.sections.close()


def test_add_check_list_and_remove(hermes: Command):
    assert "is free" in hermes("check", ANNA).output
    added = hermes("add", ANNA, "--category", "marketing")
    assert added.output == "+4520123456 gets no marketing, from a second from now on.\n"
    checked = hermes("check", ANNA)
    assert checked.exit_code == 1
    assert "+4520123456 gets no marketing" in checked.output
    assert "+45*****56" in checked.output
    listed = hermes("list").output
    assert "manual" in listed
    assert "+45*****56" in listed
    removed = hermes("remove", ANNA, "--yes")
    assert removed.output == "+4520123456 is off the list (manual).\n"
    assert hermes("check", ANNA).exit_code == 0
    again = hermes("remove", ANNA, "--yes")
    assert again.exit_code == 1
    assert "not on the list" in again.output


def test_a_file(hermes: Command, tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_text("phone,name\n+4520123456,Anna\n20123457,Bo\n")
    told = hermes("import", str(file), "--channel", "sms")
    assert told.output == (
        "1 addresses, 1 of them new; 1 lines were refused.\n  line 3: not_a_number\n"
    )
    assert "gets nothing" in hermes("check", ANNA).output


def test_a_file_without_an_address(hermes: Command, tmp_path: Path):
    file = tmp_path / "list.csv"
    for content in ("phone\nAnna\n20123457\n", "phone\n"):
        file.write_text(content)
        told = hermes("import", str(file), "--channel", "sms")
        assert told.exit_code == 1
        assert "nobody was put on the list" in told.output
    as_json = hermes("import", str(file), "--channel", "sms", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["lines"]) == (1, 0)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason.STOP, "The person wrote STOP (stop). "),
        (Reason.COMPLAINT, "The person marked a message as spam (complaint). "),
        (Reason.UNSUBSCRIBE, "The person followed an unsubscribe link (unsubscribe). "),
        (Reason.HARD_BOUNCE, ""),
        (Reason.MANUAL, ""),
    ],
)
@pytest.mark.parametrize("answer", ["y", "n", None])
def test_nobody_is_written_to_again_by_mistake(
    hermes: Command, world: World, on_terminal, reason, said, answer
):
    entry = world.store.entry("acme", "sms", "+4520123456", reason, source="mo_1")
    world.store.put("acme", [entry])
    if answer is None:
        result = hermes("remove", ANNA)
        assert result.exit_code == 2
        assert f"{said}+4520123456 would be removed: say --yes" in result.output
    else:
        on_terminal()
        result = hermes("remove", ANNA, input=f"{answer}\n")
        assert result.exit_code == (0 if answer == "y" else 1)
        assert f"{said}Take +4520123456 off the list? [y/N]" in result.stderr
    assert bool(world.store.held("acme", entry.key)) is (answer != "y")


def test_an_id_does_not_say_why_it_is_there(hermes: Command):
    entry = json.loads(hermes("add", ANNA, "--json").output)
    result = hermes("remove", entry["id"])
    assert result.exit_code == 2
    assert "may have asked to be left alone" in result.output
    assert hermes("check", ANNA).exit_code == 1


def test_ids_are_whole_on_a_narrow_terminal(hermes: Command, world, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    source = "mo_01M80WPSHQFHRATD7XD44B08AF"
    addresses = (("sms", "+4520123456"), ("email", "anna.andersen@a-long-name.example"))
    for channel, address in addresses:
        entry = world.store.entry("acme", channel, address, Reason.UNSUBSCRIBE, source=source)
        world.store.put("acme", [entry])
        checked = hermes("check", f"{channel}={address}").output
        for output in (checked, hermes("list").output):
            assert entry.id in output
            assert source in output
            assert max(map(len, output.splitlines())) <= 100


def test_the_operators_list(hermes: Command):
    assert hermes("add", ANNA, "--everybody").exit_code == 0
    checked = hermes("check", ANNA)
    assert "The operator has blocked it for all tenants" in checked.output
    assert "it is the operator" in hermes("remove", ANNA).output
    assert hermes("remove", ANNA, "--everybody", "--yes").exit_code == 0
    assert hermes("check", ANNA).exit_code == 0


def test_json(hermes: Command):
    entry = json.loads(hermes("add", ANNA, "--json").output)
    [listed] = json.loads(hermes("list", "--json").output)["data"]
    assert listed == entry
    assert json.loads(hermes("check", ANNA, "--json").output)["id"] == entry["id"]
    removed = json.loads(hermes("remove", entry["id"], "--json", "--yes").output)
    assert removed == {"id": entry["id"], "reasons": ["manual"]}


@pytest.mark.parametrize("address", ["+4520123456", "fax=1", "sms=", "sms"])
def test_an_address_without_its_channel(hermes: Command, address):
    answer = hermes("check", address)
    assert answer.exit_code == 2
    assert "CHANNEL=ADDRESS" in answer.output


def test_the_api_says_what_is_wrong(hermes: Command):
    answer = hermes("add", "sms=20123456")
    assert answer.exit_code == 1
    assert "/address" in answer.output
