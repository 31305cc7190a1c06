"""The adapters in use, as a process that calls them has them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from adapters.store.database import connect
from adapters.store.tenants import create_tenant
from adapters.wasm.installed import Health
from adapters.wasm.store import reading
from tests.unit.wasm.bundles import bundle
from tests.waiting import eventually

AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SICK = Health(at=AT, ok=False, sick=True, failures=3, detail="401")
WELL = Health(at=AT, ok=True, sick=False)


@pytest.fixture
async def registry(world):
    made = world.registry()
    yield made
    await made.close()


async def test_nothing_is_in_use_before_it_is_activated(world, registry):
    made = bundle()
    world.store.publish("alice", made)
    await registry.refresh()
    assert registry.active("alice", "acme") is None
    world.store.activate(world.store.get("alice", "acme"), made.digest)
    assert await registry.refresh()
    assert registry.active("alice", "acme").version == made.digest
    assert registry.active("bob", "acme") is None


async def test_what_is_in_use_has_its_configuration_and_component(world, registry):
    digest = world.use()
    await registry.refresh()
    found = registry.active("alice", "acme")
    assert (found.tenant, found.adapter, found.version) == ("alice", "acme", digest)
    assert dict(found.values) == {"account": "of alice", "retries": 3}
    assert {key: value.get_secret_value() for key, value in found.secrets.items()} == {
        "token": "secret of alice"
    }
    assert found.component.read_bytes().startswith(b"\0asm")
    assert found.component.name == bundle().component_digest


async def test_a_poll_tells_whether_anything_has_changed(world, registry):
    assert not await registry.refresh()
    world.use()
    assert await registry.refresh()
    assert not await registry.refresh()
    # The message log is in the same file, and written all the time.
    create_tenant(world.where, "carol")
    assert not await registry.refresh()


async def test_what_could_not_be_read_is_read_the_next_time(world, registry, monkeypatch):
    digest = world.use()

    def broken(*_, **__):
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "adapter", broken)
        with pytest.raises(OSError, match="away"):
            await registry.refresh()
    assert await registry.refresh()
    assert registry.active("alice", "acme").version == digest


async def test_one_change_leaves_every_other_adapter_the_object_it_was(world, registry):
    world.use("alice")
    world.use("bob")
    await registry.refresh()
    before = registry.active("bob", "acme")
    world.use("alice", "2.0.0")
    await registry.refresh()
    assert registry.active("alice", "acme").manifest.version == "2.0.0"
    assert registry.active("bob", "acme") is before


async def test_a_change_of_the_configuration_is_a_new_revision(world, registry):
    world.use()
    await registry.refresh()
    before = registry.active("alice", "acme")
    adapter = world.store.get("alice", "acme")
    world.store.configure(world.store.configured(adapter, {"token": SecretStr("new")}))
    await registry.refresh()
    after = registry.active("alice", "acme")
    assert after.revision > before.revision
    assert after.version == before.version
    assert after.secrets["token"].get_secret_value() == "new"


async def test_the_choice_goes_by_channel_priority_and_health(world, registry):
    for name, channels, priority in (
        ("first", ["sms"], 10), ("second", ["sms", "whatsapp"], 20), ("third", ["email"], 1),
    ):  # fmt: skip
        digest = world.use(name=name, channels=channels)
        world.store.activate(world.store.get("alice", name), digest, priority)
    world.use("bob", name="first")
    await registry.refresh()

    def choice(channel: str) -> list[str]:
        return [one.adapter for one in registry.choose("alice", channel)]

    assert choice("sms") == ["first", "second"]
    assert choice("whatsapp") == ["second"]
    assert choice("push") == []
    await registry.note_health(registry.active("alice", "first"), SICK)
    assert choice("sms") == ["second"]
    assert [one.adapter for one in registry.choose("bob", "sms")] == ["first"]
    await registry.note_health(registry.active("alice", "first"), WELL)
    assert choice("sms") == ["first", "second"]
    registry.choose("alice", "sms").clear()
    assert choice("sms") == ["first", "second"]


async def test_health_is_known_to_every_process_and_shown(world, registry):
    world.use()
    other = world.registry()
    await registry.refresh()
    await registry.note_health(registry.active("alice", "acme"), SICK)
    assert await other.refresh()
    assert other.choose("alice", "sms") == []
    assert other.active("alice", "acme") is not None
    assert world.store.get("alice", "acme").health == SICK
    await other.close()


@pytest.mark.parametrize("change", ["version", "configuration"])
async def test_health_of_what_is_not_in_use_any_more_is_dropped(world, registry, change):
    world.use()
    await registry.refresh()
    old = registry.active("alice", "acme")
    if change == "version":
        world.use("alice", "2.0.0")
    else:
        adapter = world.store.get("alice", "acme")
        world.store.configure(world.store.configured(adapter, {"region": "eu1"}))
    await registry.note_health(old, SICK)
    await registry.refresh()
    assert len(registry.choose("alice", "sms")) == 1
    assert world.store.get("alice", "acme").health is None


async def test_an_attempt_finds_the_version_that_it_began_with(world, registry):
    old = world.use()
    new = world.use("alice", "2.0.0")
    await registry.refresh()
    for named in (old, old[:8]):
        found = await registry.pinned("alice", "acme", named)
        assert found.version == old
        assert found.secrets["token"].get_secret_value() == "secret of alice"
    assert (await registry.pinned("alice", "acme", new[:8])).version == new
    for nobody in (("bob", "acme", old), ("alice", "other", old), ("alice", "acme", old[:7]),
                   ("alice", "acme", "0" * 64), ("alice", "acme", "%" * 8)):  # fmt: skip
        assert await registry.pinned(*nobody) is None


async def test_a_pinned_version_has_todays_secrets(world, registry):
    old = world.use()
    world.use("alice", "2.0.0")
    await registry.refresh()
    await registry.pinned("alice", "acme", old)
    adapter = world.store.get("alice", "acme")
    world.store.configure(world.store.configured(adapter, {"token": SecretStr("rotated")}))
    await registry.refresh()
    found = await registry.pinned("alice", "acme", old)
    assert found.secrets["token"].get_secret_value() == "rotated"


async def test_what_is_removed_goes_on_for_those_that_began_with_it(world, registry):
    old = world.use()
    world.use("alice", "2.0.0")
    world.store.remove_version("alice", "acme", old)
    await registry.refresh()
    assert (await registry.pinned("alice", "acme", old)).component.exists()
    world.store.remove("alice", "acme")
    await registry.refresh()
    assert registry.active("alice", "acme") is None
    assert registry.choose("alice", "sms") == registry.all_active() == []
    found = await registry.pinned("alice", "acme", old)
    assert found.component.exists()
    assert found.secrets["token"].get_secret_value() == "secret of alice"


async def test_all_that_is_in_use_is_listed(world, registry):
    world.use("alice")
    world.use("bob")
    world.use("bob", name="other")
    await registry.refresh()
    assert sorted((one.tenant, one.adapter) for one in registry.all_active()) == [
        ("alice", "acme"), ("bob", "acme"), ("bob", "other"),
    ]  # fmt: skip


async def test_a_process_that_starts_knows_what_is_in_use(world):
    digest = world.use()
    registry = world.registry()
    assert registry.active("alice", "acme").version == digest
    assert not await registry.refresh()
    await registry.close()


async def test_one_version_that_this_hermes_does_not_read_takes_nothing_else_down(world, registry):
    old = world.use("alice")
    world.use("bob", name="other")
    database = connect(world.where)
    database.execute("UPDATE adapter_versions SET manifest_json = '{}' WHERE tenant = 'alice'")
    database.close()
    await registry.refresh()
    assert registry.active("alice", "acme") is None
    assert await registry.pinned("alice", "acme", old) is None
    assert registry.active("bob", "other") is not None
    assert [each.name for each in world.store.all("bob")] == ["other"]
    assert world.store.all("alice") == []


SWITCHING = """
import sys
from pathlib import Path
from adapters.wasm.store.management import AdapterStore
data = Path(sys.argv[1])
store = AdapterStore(sys.argv[3] if "://" in sys.argv[3] else Path(sys.argv[3]), data)
for _ in range(int(sys.argv[2])):
    adapter = store.get("alice", "acme")
    store.activate(adapter, adapter.previous)
print(store.get("alice", "acme").active)
"""


async def test_another_process_switches_while_this_one_polls(world, registry):
    """Every answer is one version or the other, whole, and in the end it is the last one."""
    both = {world.use(): "1.0.0", world.use("alice", "2.0.0"): "2.0.0"}
    await registry.refresh()
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SWITCHING, str(world.directory), "50", str(world.where)),
        stdout=subprocess.PIPE,
    )
    ending = asyncio.ensure_future(other.communicate())
    seen = []

    async def ended() -> bool:
        if await registry.refresh():
            found = registry.active("alice", "acme")
            assert found.manifest.version == both[found.version]
            assert found.component.exists()
            assert registry.choose("alice", "sms") == [found]
            seen.append(found.version)
        return ending.done()

    await eventually(ended, within=30, pause=0)
    last = ending.result()[0].decode().strip()
    await registry.refresh()
    assert registry.active("alice", "acme").version == last
    assert set(seen) == set(both)


async def test_one_health_that_cannot_be_read_takes_nothing_else_down(world, registry):
    world.use("alice")
    database = connect(world.where)
    database.execute("UPDATE adapters SET health_json = '{' WHERE tenant = 'alice'")
    database.close()
    world.use("bob", name="other")
    await registry.refresh()
    assert registry.active("alice", "acme") is not None
    assert registry.health("alice", "acme") is None
    assert registry.active("bob", "other") is not None
    assert [each.name for each in world.store.all("alice")] == ["acme"]


async def test_a_health_that_says_nothing_new_is_not_written(world, registry):
    world.use()
    await registry.refresh()
    other = world.registry()
    checks = [
        # seconds, what was found, whether others hear of it
        (0, SICK, True),
        (30, SICK, False),
        (60, WELL, True),
        (90, WELL, False),
        (700, WELL, True),
    ]
    for seconds, found, told in checks:
        health = replace(found, at=AT + timedelta(seconds=seconds))
        await registry.note_health(registry.active("alice", "acme"), health)
        assert registry.health("alice", "acme") == health
        assert await other.refresh() is told, seconds
        assert other.health("alice", "acme").ok is found.ok
    await other.close()


async def test_only_the_tenants_own_are_its_own(world, registry):
    world.use("alice")
    world.use("alice", name="other")
    world.use("bob")
    await registry.refresh()
    assert [one.adapter for one in registry.of("alice")] == ["acme", "other"]
    assert [one.adapter for one in registry.choose("bob", "sms")] == ["acme"]
    world.store.remove("alice", "acme")
    await registry.refresh()
    assert [one.adapter for one in registry.of("alice")] == ["other"]
    assert registry.of("nobody") == []
