"""Secrets at rest."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest
from pydantic import SecretStr

from adapters.store.database import connect
from adapters.wasm.store.sealing import SecretsKeyError, load_key
from tests.unit.wasm.bundles import bundle

PLACE = ("alice", "acme", "token")


def test_what_is_sealed_opens_again_and_differs_each_time(tmp_path):
    sealer = load_key(tmp_path / "secrets.key", needed=False)
    sealed = [sealer.seal("hush", PLACE) for _ in range(3)]
    assert len(set(sealed)) == 3
    again = load_key(tmp_path / "secrets.key", needed=True)
    assert {again.open(one, PLACE) for one in sealed} == {"hush"}


@pytest.mark.parametrize("place", [("bob", "acme", "token"), ("alice", "acme", "other"), ()])
def test_a_row_that_was_copied_elsewhere_does_not_open(tmp_path, place):
    sealer = load_key(tmp_path / "secrets.key", needed=False)
    with pytest.raises(SecretsKeyError, match="was changed in the database"):
        sealer.open(sealer.seal("hush", PLACE), place)


@pytest.mark.parametrize("index", [8, 20, -1])
def test_a_flipped_bit_is_noticed(tmp_path, index):
    sealer = load_key(tmp_path / "secrets.key", needed=False)
    sealed = bytearray(sealer.seal("hush", PLACE))
    sealed[index] ^= 1
    with pytest.raises(SecretsKeyError):
        sealer.open(bytes(sealed), PLACE)


def test_the_key_is_its_owners_alone(tmp_path):
    load_key(tmp_path / "data" / "secrets.key", needed=False)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("data/*")]
    assert modes == [0o600]


def test_processes_that_make_the_key_at_once_agree(tmp_path):
    script = (
        "import sys, pathlib; from adapters.wasm.store.sealing import load_key;"
        "sys.stdin.readline(); key = load_key(pathlib.Path(sys.argv[1]), needed=False);"
        "print(key.seal('hush', ('a',)).hex())"
    )
    file = tmp_path / "secrets.key"
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in racing:
        process.stdin.write("go\n")
        process.stdin.flush()
    sealed = [process.communicate()[0].strip() for process in racing]
    key = load_key(file, needed=True)
    assert [key.open(bytes.fromhex(one), ("a",)) for one in sealed] == ["hush"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.key"]


@pytest.mark.parametrize("content", ["", "short", "zz" * 32, "ab" * 31, "é" * 64])
def test_a_file_that_is_no_key_is_told(tmp_path, content):
    (tmp_path / "secrets.key").write_text(content)
    with pytest.raises(SecretsKeyError, match="holds no key"):
        load_key(tmp_path / "secrets.key", needed=False)


async def test_the_secret_is_neither_in_the_files_nor_in_the_rows(world):
    world.use()
    registry = world.registry()
    assert registry.active("alice", "acme").secrets["token"].get_secret_value() == "secret of alice"
    contents = [path.read_bytes() for path in world.directory.parent.rglob("*") if path.is_file()]
    database = connect(world.where)
    rows = database.execute("SELECT * FROM adapter_configuration").fetchall()
    contents += [
        item if isinstance(item, bytes) else str(item).encode() for row in rows for item in row
    ]
    database.close()
    assert any(b"of alice" in content for content in contents)
    assert not [content for content in contents if b"secret of alice" in content]
    await registry.close()


def test_a_lost_key_is_told_and_no_other_is_made(world):
    world.use()
    (world.directory / "secrets.key").unlink()
    for make in (world.registry, world.another_store):
        with pytest.raises(SecretsKeyError, match=r"secrets\.key is missing"):
            make()
    assert not (world.directory / "secrets.key").exists()


def test_another_key_is_told(world):
    world.use()
    (world.directory / "secrets.key").write_text("ab" * 32)
    with pytest.raises(SecretsKeyError, match="is not the key"):
        world.registry()


async def test_without_secrets_a_lost_key_is_no_loss(world):
    made = bundle(configuration={})
    world.store.publish("alice", made)
    world.store.activate(world.store.get("alice", "acme"), made.digest)
    (world.directory / "secrets.key").unlink()
    registry = world.registry()
    assert registry.active("alice", "acme").version == made.digest
    await registry.close()


async def test_one_secret_that_does_not_open_takes_nothing_else_down(world):
    world.use("alice")
    world.use("bob")
    registry = world.registry()
    database = connect(world.where)
    database.execute(
        "UPDATE adapter_configuration SET sealed ="
        " (SELECT sealed FROM adapter_configuration WHERE tenant = 'bob' AND key = 'token')"
        " WHERE tenant = 'alice' AND key = 'token'"
    )
    database.close()
    for tenant in ("alice", "bob"):
        adapter = world.store.get(tenant, "acme")
        world.store.configure(world.store.configured(adapter, {"region": "eu1"}))
    await registry.refresh()
    assert registry.active("alice", "acme") is None
    assert registry.active("bob", "acme") is not None
    await registry.close()


def test_a_secret_is_never_handed_to_a_version_that_would_show_it(world):
    world.use()
    open_token = {"token": {"type": "string", "description": "The token."}}
    leaking = bundle("2.0.0", configuration=open_token)
    world.store.publish("alice", leaking)
    adapter = world.store.get("alice", "acme")
    installed = world.store.installed(adapter, adapter.named("2.0.0"))
    assert dict(installed.values) == {}
    assert dict(installed.secrets) == {}


def test_no_representation_shows_a_secret(world):
    world.use()
    adapter = world.store.configured(
        world.store.get("alice", "acme"), {"token": SecretStr("hush-hush")}
    )
    shown = repr(adapter) + repr(world.store.installed(adapter, adapter.versions[0]))
    assert "hush" not in shown
