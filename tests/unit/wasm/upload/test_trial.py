"""Uploads and configurations tried by the real host, in the guest itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.wasm.host import AdapterHost
from adapters.wasm.store.management import AdapterStore
from adapters.wasm.store.registry import SqliteRegistry
from adapters.wasm.store.values import SqliteValueStore
from adapters.wasm.upload.lifecycle import Lifecycle
from adapters.wasm.upload.refusal import Refused
from tests.unit.wasm.bundles import CONFIGURED, assembled, component, zipped

WELL = (Path(__file__).parents[1] / "well.wat").read_text()
CONFIGURE = '(func (export "configure") (param i32 i32) (result i32) (i32.const 16))'
HEALTH = '(func (export "health") (result i32) (i32.const 32))'


def saying(words: str, place: int, told: bytes) -> bytes:
    """The guest with other words where it says something; `told` stands before their place."""
    [before] = [line for line in WELL.splitlines() if f"(data (i32.const {place})" in line]
    start, length = (number.to_bytes(4, "little") for number in (200, len(words)))
    return assembled(WELL.replace(before, data(place, told + start + length) + data(200, words)))


def data(place: int, content: bytes | str) -> str:
    octets = content.encode() if isinstance(content, str) else content
    escaped = "".join(f"\\{octet:02x}" for octet in octets)
    return f'(data (i32.const {place}) "{escaped}")'


def refusing(words: str) -> bytes:
    """Its on-configure answers with an error of these words."""
    return saying(words, 16, bytes([1, 0, 0, 0]))


def answering(words: str) -> bytes:
    """Its on-health-check answers these words."""
    return saying(words, 32, b"")


REFUSED = {
    "its own words": (refusing("no such account"), "configure", "no such account"),
    "a trap in on-configure": (
        assembled(WELL.replace(CONFIGURE, CONFIGURE.replace("(i32.const 16)", "(unreachable)"))),
        "configure", "trap",
    ),
    "a loop in on-configure": (
        assembled(
            WELL.replace(
                CONFIGURE, CONFIGURE.replace("(i32.const 16)", "(loop (br 0)) (i32.const 16)")
            )
        ),
        "configure", "",
    ),
    "ill": (answering('{"done":{"ok":false,"detail":"401"}}'), "health", "401"),
    "no JSON": (answering("hello"), "health", "malformed"),
    "a loop in the health check": (
        assembled(
            WELL.replace(HEALTH, HEALTH.replace("(i32.const 32)", "(loop (br 0)) (i32.const 32)"))
        ),
        "health", "",
    ),
}  # fmt: skip


class Nowhere:
    """The way out, which no guest here takes."""

    def port(self, installed):
        return self

    def placeholder(self, installed, name):
        return f"{{{{secret:{name}}}}}"


class Sink:
    def log(self, tenant, adapter, level, message):
        pass

    def metric(self, tenant, adapter, name, value):
        pass


@pytest.fixture
async def life(tmp_path):
    path = tmp_path / "hermes.db"
    store = AdapterStore(path, tmp_path)
    registry, values = SqliteRegistry(path, tmp_path), SqliteValueStore(path)
    host = AdapterHost(
        registry, Nowhere(), Sink(), public_url="http://127.0.0.1", reference_key=b"k" * 32,
        artifacts=tmp_path / "artifacts", values=values,
    )  # fmt: skip
    yield Lifecycle(store, host)
    await host.close()
    await values.close()
    await registry.close()


async def published(life, content, version="1.0.0"):
    async def upload():
        return zipped({"adapter.wasm": content}, version)

    return await life.publish("alice", "acme", upload)


@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_guest_refuses_is_told_in_its_words(life, case):
    content, check, finding = REFUSED[case]
    await published(life, content)
    with pytest.raises(Refused) as refused:
        await life.configure("alice", "acme", CONFIGURED)
    assert (refused.value.check, finding in refused.value.finding) == (check, True), refused.value
    assert (await life.get("alice", "acme")).settings == {}


async def test_a_guest_that_is_well_is_put_to_use_and_a_sick_update_is_not(life):
    await published(life, component())
    await life.configure("alice", "acme", CONFIGURED)
    active = await life.activate("alice", "acme")
    with pytest.raises(Refused):
        await published(life, REFUSED["ill"][0], "1.1.0")
    assert await life.get("alice", "acme") == active
