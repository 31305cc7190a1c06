"""Changes to a tenant's adapters."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.store.database import connect
from adapters.wasm.store import management
from adapters.wasm.store.management import (
    NoPrevious,
    Overtaken,
    QuotaFull,
    Taken,
    UnknownAdapter,
    UnknownVersion,
    VersionInUse,
)
from adapters.wasm.store.values import SqliteValueStore
from tests.unit.wasm.bundles import bundle


def test_a_version_is_kept_with_its_files(world):
    made = bundle()
    version = world.store.publish("alice", made)
    assert (version.digest, version.built_in, version.size) == (made.digest, False, made.size)
    directory = world.directory / "adapters" / made.digest
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == made.files
    assert world.store.get("alice", "acme").versions == (version,)


def test_publishing_the_same_again_changes_nothing(world):
    made = bundle()
    first = world.store.publish("alice", made)
    world.now += 10
    assert world.store.publish("alice", made) == first
    assert world.store.publish("bob", made).digest == first.digest
    assert world.kept() == {made.digest}


def test_what_is_published_again_after_its_removal_is_the_newest(world):
    for number in ("1.0.0", "2.0.0"):
        world.now += 1
        world.store.publish("alice", bundle(number))
    world.store.remove_version("alice", "acme", bundle().digest)
    world.now += 1
    world.store.publish("alice", bundle())
    versions = world.store.get("alice", "acme").versions
    assert [version.manifest.version for version in versions] == ["1.0.0", "2.0.0"]


def test_a_number_stands_for_one_bundle(world):
    world.store.publish("alice", bundle(summary="One."))
    with pytest.raises(Taken):
        world.store.publish("alice", bundle(summary="Another."))
    world.store.publish("bob", bundle(summary="Another."))


def test_versions_are_listed_newest_first_and_found_by_any_name(world):
    digests = []
    for number in ("1.0.0", "1.1.0", "2.0.0"):
        world.now += 1
        digests.insert(0, world.store.publish("alice", bundle(number)).digest)
    adapter = world.store.get("alice", "acme")
    assert [version.digest for version in adapter.versions] == digests
    assert adapter.named("1.1.0") == adapter.named(digests[1]) == adapter.named(digests[1][:8])
    for nothing in ("", "1.1", digests[1][:7], "0" * 64, "3.0.0"):
        assert adapter.named(nothing) is None


@pytest.mark.parametrize("name", ["MAX_VERSIONS", "MAX_BYTES"])
def test_a_tenant_keeps_only_so_much(world, monkeypatch, name):
    most = {"MAX_VERSIONS": 2, "MAX_BYTES": 3 * bundle().size - 10}
    monkeypatch.setattr(management, name, most[name])
    for number in ("1.0.0", "1.1.0"):
        world.store.publish("alice", bundle(number))
    kept = world.kept()
    with pytest.raises(QuotaFull):
        world.store.publish("alice", bundle("1.2.0"))
    assert world.kept() == kept
    world.store.publish("alice", bundle("1.1.0"))
    world.store.publish("bob", bundle("1.2.0"))


def test_an_adapter_is_its_tenants_alone(world):
    digest = world.use("alice")
    adapter = world.store.get("alice", "acme")
    calls = [
        lambda: world.store.get("bob", "acme"),
        lambda: world.store.remove("bob", "acme"),
        lambda: world.store.remove_version("bob", "acme", digest),
        lambda: world.store.activate(
            management.Adapter("bob", "acme", adapter.versions, revision=0), digest
        ),
        lambda: world.store.configure(management.Adapter("bob", "acme", (), revision=0)),
    ]
    for call in calls:
        with pytest.raises(UnknownAdapter):
            call()
    assert world.store.all("bob") == []
    assert [each.name for each in world.store.all("alice")] == ["acme"]


def test_activation_and_rollback_switch_between_two(world):
    one, two = world.use(), world.use("alice", "2.0.0")

    def now():
        adapter = world.store.get("alice", "acme")
        return adapter.active, adapter.previous

    assert now() == (two, one)
    world.store.activate(world.store.get("alice", "acme"), two, priority=7)
    assert now() == (two, one)
    assert world.store.get("alice", "acme").priority == 7
    world.store.rollback(world.store.get("alice", "acme"))
    assert now() == (one, two)
    world.store.rollback(world.store.get("alice", "acme"))
    assert now() == (two, one)


def test_what_is_taken_out_of_use_is_kept_and_comes_back(world):
    world.use()
    two = world.use("alice", "2.0.0")
    before = world.store.get("alice", "acme")
    world.store.deactivate(before)
    after = world.store.get("alice", "acme")
    assert (after.active, after.previous) == (None, two)
    assert (after.versions, after.settings) == (before.versions, before.settings)
    world.store.deactivate(after)
    assert world.store.get("alice", "acme") == after
    world.store.rollback(after)
    assert world.store.get("alice", "acme").active == two


def test_there_is_nothing_to_go_back_to_at_first(world):
    world.use()
    with pytest.raises(NoPrevious):
        world.store.rollback(world.store.get("alice", "acme"))


@pytest.mark.parametrize("change", ["activate", "configure", "rollback", "deactivate"])
def test_who_looked_at_something_else_is_told(world, change):
    world.use()
    two = world.use("alice", "2.0.0")
    seen = world.store.get("alice", "acme")
    proposed = world.store.configured(seen, {"region": "eu1"})
    world.use("alice", "3.0.0")
    calls = {
        "activate": lambda: world.store.activate(seen, two),
        "configure": lambda: world.store.configure(proposed),
        "rollback": lambda: world.store.rollback(seen),
        "deactivate": lambda: world.store.deactivate(seen),
    }
    with pytest.raises(Overtaken):
        calls[change]()
    assert world.store.get("alice", "acme").active_version.manifest.version == "3.0.0"


def test_of_two_that_change_at_once_one_is_told(world):
    world.use()
    seen = world.store.get("alice", "acme")
    both = [world.store.configured(seen, {"account": name}) for name in ("one", "two")]
    ended = []

    def configure(proposed):
        try:
            world.another_store().configure(proposed)
            ended.append(proposed.settings["account"].value)
        except Overtaken:
            ended.append(Overtaken)

    threads = [threading.Thread(target=configure, args=(proposed,)) for proposed in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended.count(Overtaken) == 1
    [won] = [each for each in ended if each is not Overtaken]
    assert world.store.get("alice", "acme").settings["account"].value == won


def test_a_configuration_is_changed_key_by_key(world):
    world.use()
    adapter = world.store.get("alice", "acme")
    changes = {"account": None, "region": "eu1", "retries": 5, "token": SecretStr("new")}
    world.store.configure(world.store.configured(adapter, changes))
    settings = world.store.get("alice", "acme").settings
    assert {key: setting.value for key, setting in settings.items()} == {
        "region": "eu1", "retries": 5, "token": None,
    }  # fmt: skip
    assert settings["token"].secret


def test_the_version_in_use_stays(world):
    one, two = world.use(), world.use("alice", "2.0.0")
    with pytest.raises(VersionInUse, match="active"):
        world.store.remove_version("alice", "acme", two)
    with pytest.raises(UnknownVersion):
        world.store.remove_version("alice", "acme", "0" * 64)
    world.store.remove_version("alice", "acme", one)
    adapter = world.store.get("alice", "acme")
    assert (adapter.active, adapter.previous) == (two, None)
    with pytest.raises(UnknownVersion):
        world.store.activate(adapter, one)


def test_files_stay_as_long_as_attempts_may_need_them(world):
    one, two = world.use(), world.use("alice", "2.0.0")
    world.store.remove_version("alice", "acme", one)
    world.now += management.KEEP - 1
    world.store.sweep()
    assert world.kept() == {one, two}
    world.now += 2
    world.store.sweep()
    assert world.kept() == {two}


def test_files_that_another_tenant_uses_stay(world):
    digest = world.use("alice")
    assert world.use("bob") == digest
    world.store.remove("alice", "acme")
    world.now += management.KEEP + 1
    world.store.sweep()
    assert world.kept() == {digest}
    world.store.remove("bob", "acme")
    world.now += management.KEEP + 1
    world.store.sweep()
    assert world.kept() == set()


async def test_a_removed_adapter_leaves_nothing_behind_in_the_end(world):
    world.use()
    values = SqliteValueStore(world.where)
    await values.save("alice", "acme", {"cursor": "17"})
    world.store.remove("alice", "acme")
    with pytest.raises(UnknownAdapter):
        world.store.get("alice", "acme")
    with pytest.raises(UnknownAdapter):
        world.store.remove("alice", "acme")
    assert await values.load("alice", "acme") == {"cursor": "17"}
    world.now += management.KEEP + 1
    world.store.sweep()
    assert await values.load("alice", "acme") == {}
    await values.close()
    database = connect(world.where)
    for table in ("adapters", "adapter_versions", "adapter_configuration", "adapter_values"):
        assert database.execute(f"SELECT * FROM {table}").fetchall() == [], table
    database.close()


def test_an_adapter_that_comes_back_begins_anew(world):
    world.use()
    world.store.activate(world.store.get("alice", "acme"), bundle().digest, priority=7)
    world.store.remove("alice", "acme")
    world.store.publish("alice", bundle())
    adapter = world.store.get("alice", "acme")
    assert (adapter.active, adapter.previous, adapter.priority) == (None, None, 100)
    assert adapter.settings == {}


@pytest.mark.parametrize("forgotten", [True, False])
def test_no_two_configurations_share_a_revision(world, forgotten):
    """Not even those of an adapter that was removed in between."""
    seen = []
    for _ in range(3):
        world.store.publish("alice", bundle())
        seen.append(world.store.get("alice", "acme").revision)
        for values in ({"region": "eu1"}, {"region": None}):
            adapter = world.store.get("alice", "acme")
            world.store.configure(world.store.configured(adapter, values))
            seen.append(world.store.get("alice", "acme").revision)
        world.store.remove("alice", "acme")
        if forgotten:
            world.now += management.KEEP + 1
            world.store.sweep()
    assert len(set(seen)) == len(seen)


def test_what_comes_with_hermes_is_there_for_everyone(world):
    ours = bundle(name="ours")
    world.store.offer([ours])
    world.store.offer([ours])
    for tenant in ("alice", "bob"):
        [adapter] = world.store.all(tenant)
        assert (adapter.name, adapter.active) == ("ours", None)
        assert [version.built_in for version in adapter.versions] == [True]
    with pytest.raises(UnknownAdapter):
        world.store.remove("alice", "ours")
    world.store.activate(world.store.get("alice", "ours"), ours.digest)
    assert world.store.get("bob", "ours").active is None
    with pytest.raises(VersionInUse):
        world.store.remove_version("alice", "ours", ours.digest)
    world.store.remove("alice", "ours")
    assert world.store.get("alice", "ours").active is None


def test_a_newer_hermes_leaves_everyone_the_version_in_use(world):
    old, new = bundle(name="ours"), bundle("2.0.0", name="ours")
    world.store.offer([old])
    world.store.activate(world.store.get("alice", "ours"), old.digest)
    world.store.offer([new])
    world.now += management.KEEP + 1
    world.store.sweep()
    assert [each.digest for each in world.store.get("bob", "ours").versions] == [new.digest]
    assert world.store.get("alice", "ours").active == old.digest
    assert {each.digest for each in world.store.get("alice", "ours").versions} == {
        old.digest, new.digest,
    }  # fmt: skip
    world.store.activate(world.store.get("alice", "ours"), new.digest)
    world.store.rollback(world.store.get("alice", "ours"))
    world.store.remove("alice", "ours")
    world.store.sweep()
    assert world.kept() == {new.digest}


def test_a_tenants_own_version_stands_beside_the_one_that_comes_with_hermes(world):
    world.store.offer([bundle(name="ours")])
    world.now += 1
    world.store.publish("alice", bundle("1.0.1", name="ours"))
    versions = world.store.get("alice", "ours").versions
    assert [(each.manifest.version, each.built_in) for each in versions] == [
        ("1.0.1", False), ("1.0.0", True),
    ]  # fmt: skip
    with pytest.raises(Taken):
        world.store.publish("alice", bundle(name="ours", summary="Mine."))


DYING = """
import os, sys
from pathlib import Path
from adapters.wasm.store import bundles, management
from tests.unit.wasm.bundles import bundle
data = Path(sys.argv[1])
where = sys.argv[4] if "://" in sys.argv[4] else Path(sys.argv[4])
store = management.AdapterStore(where, data)
write, left = bundles._write, [int(sys.argv[2])]
def dying(path, content):
    if left[0] == 0:
        path.write_bytes(content[: len(content) // 2])
        os._exit(9)
    left[0] -= 1
    write(path, content)
bundles._write = dying
if sys.argv[3] == "before the row":
    bundles.BundleFiles.add, add = (lambda *a: (add(*a), os._exit(9))), bundles.BundleFiles.add
store.publish("alice", bundle())
"""


@pytest.mark.parametrize(
    ("files", "when"), [(0, "writing"), (1, "writing"), (99, "before the row")]
)
def test_a_process_that_dies_while_publishing_leaves_nothing_that_counts(world, files, when):
    died = subprocess.run(
        [sys.executable, "-c", DYING, str(world.directory), str(files), when, str(world.where)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False,
    )  # fmt: skip
    assert died.returncode == 9
    with pytest.raises(UnknownAdapter):
        world.store.get("alice", "acme")
    made = bundle()
    world.store.publish("alice", made)
    directory = world.directory / "adapters" / made.digest
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == made.files
    leftover = [path for path in (world.directory / "adapters").iterdir() if path != directory]
    assert len(leftover) == (1 if when == "writing" else 0)
    world.store.sweep()
    assert {path.name for path in leftover} <= world.kept()
    for path in leftover:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    world.store.sweep()
    assert world.kept() == {made.digest}


def test_publishing_and_sweeping_at_once_lose_no_file(world):
    """The files of what is published are there, whoever sweeps at that moment."""
    stop = threading.Event()

    def sweep():
        store = world.another_store()
        while not stop.is_set():
            store.sweep()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        for number in range(60):
            made = bundle(f"1.{number}.0")
            world.store.publish("alice", made)
            assert (world.directory / "adapters" / made.digest / made.component_digest).exists()
    finally:
        stop.set()
        sweeping.join()
    versions = world.store.get("alice", "acme").versions
    assert len(versions) == 60
    assert world.kept() >= {version.digest for version in versions}


def test_two_stores_that_publish_the_same_at_once_agree(world):
    made, ended = bundle(), []
    threads = [
        threading.Thread(target=lambda: ended.append(world.another_store().publish("alice", made)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {version.digest for version in ended} == {made.digest}
    assert len(ended) == 8
    assert world.kept() == {made.digest}
