"""From an upload to an adapter in use and back."""

from __future__ import annotations

import asyncio

import pytest

from adapters.wasm.installed import Health
from adapters.wasm.store.management import (
    AdapterStore,
    NoPrevious,
    UnknownAdapter,
    UnknownVersion,
    VersionInUse,
)
from adapters.wasm.upload.lifecycle import Busy, Lifecycle
from adapters.wasm.upload.refusal import NotConfigured, Refused
from tests.unit.wasm.bundles import CONFIGURED, SETTINGS, FakeTrial, bundle, component, zipped

RENAMED = {"account": SETTINGS["account"], "api_key": {**SETTINGS["token"]}}


class World:
    """One tenant's life cycle on a real store, with a trial that does as it is told."""

    def __init__(self, directory):
        self.store = AdapterStore(directory / "hermes.db", directory)
        self.trial = FakeTrial()
        self.inspected = []
        self.life = Lifecycle(self.store, self.trial, inspect=self.inspect, trial_patience=0.5)

    async def inspect(self, file):
        self.inspected.append(file.read_bytes())

    async def publish(self, version="1.0.0", tenant="alice", name="acme", **changes):
        async def upload():
            return zipped(version=version, **changes)

        return await self.life.publish(tenant, name, upload)

    async def in_use(self, version="1.0.0"):
        """Published, configured and activated."""
        await self.publish(version)
        if not (await self.life.get("alice", "acme")).settings:
            await self.life.configure("alice", "acme", CONFIGURED)
        return await self.life.activate("alice", "acme", version)

    async def now(self):
        """The number of the version in use."""
        version = (await self.life.get("alice", "acme")).active_version
        return version and version.manifest.version


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_an_upload_is_looked_into_and_kept(world):
    adapter, version = await world.publish()
    assert world.inspected == [component()]
    assert adapter.versions == (version,)
    assert adapter.active is None
    assert world.trial.tried == []


async def test_a_version_is_tried_with_the_configuration_that_there_is(world):
    await world.in_use()
    world.trial.tried.clear()
    await world.publish("1.1.0")
    [tried] = world.trial.tried
    assert tried.manifest.version == "1.1.0"
    assert tried.values["account"] == "AC1"
    assert tried.secrets["token"].get_secret_value() == CONFIGURED["token"]
    assert world.trial.components[-1] == component()
    assert await world.now() == "1.0.0"


async def test_a_version_that_needs_another_configuration_waits_for_it(world):
    await world.in_use()
    world.trial.tried.clear()
    await world.publish("2.0.0", configuration=RENAMED)
    assert world.trial.tried == []
    with pytest.raises(NotConfigured) as wrong:
        await world.life.activate("alice", "acme", "2.0.0")
    assert wrong.value.faults == {"api_key": "is missing"}
    assert await world.now() == "1.0.0"
    await world.life.configure("alice", "acme", {"api_key": "hush"}, "2.0.0")
    assert [each.manifest.version for each in world.trial.tried] == ["1.0.0", "2.0.0"]
    await world.life.activate("alice", "acme", "2.0.0")
    assert await world.now() == "2.0.0"
    assert set(world.trial.tried[-1].secrets) == {"api_key"}


async def test_an_adapter_that_needs_nothing_is_tried_at_once(world):
    await world.publish(configuration={})
    assert len(world.trial.tried) == 1


async def test_a_webhook_key_that_verifies_nothing_is_refused_when_it_is_given(world):
    signed = {"scheme": "standard-webhooks", "secret": "token"}
    await world.publish(webhook=signed)
    with pytest.raises(NotConfigured) as wrong:
        await world.life.configure("alice", "acme", {**CONFIGURED, "token": "no base64!"})
    assert list(wrong.value.faults) == ["token"]
    assert "Standard Webhooks" in wrong.value.faults["token"]
    assert (await world.life.get("alice", "acme")).settings == {}
    await world.life.configure("alice", "acme", {**CONFIGURED, "token": "whsec_c2VjcmV0"})


FAILURES = {
    "its own words": ({"says": "no such account"}, "configure", "no such account"),
    "a trap": ({"says": "unreachable", "kind": "trap"}, "configure", "trap: unreachable"),
    "ill": ({"ill": "401 from Acme"}, "health", "401 from Acme"),
    "ill without a word": ({"ill": ""}, "health", "not well"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("step", ["publish", "configure", "activate"])
async def test_what_fails_its_trial_changes_nothing(world, step, case):
    told, check, finding = FAILURES[case]
    await world.in_use()
    await world.publish("1.1.0")
    before = await world.life.get("alice", "acme")
    for name, value in told.items():
        setattr(world.trial, name, value)
    steps = {
        "publish": lambda: world.publish("1.2.0"),
        "configure": lambda: world.life.configure("alice", "acme", {"account": "AC2"}),
        "activate": lambda: world.life.activate("alice", "acme", "1.1.0"),
    }
    with pytest.raises(Refused) as refused:
        await steps[step]()
    assert (refused.value.check, finding in refused.value.finding) == (check, True)
    assert await world.life.get("alice", "acme") == before


async def test_no_two_trials_look_the_same_to_a_host_that_remembers(world):
    """Else it would try the second configuration with the guest that it made for the first."""
    await world.publish()
    world.trial.ill = "wrong account"
    for account in ("one", "two"):
        with pytest.raises(Refused):
            await world.life.configure("alice", "acme", {**CONFIGURED, "account": account})
    world.trial.ill = None
    await world.in_use()
    in_use = world.store.get("alice", "acme").revision
    revisions = [tried.revision for tried in world.trial.tried]
    assert len({in_use, *revisions}) == 1 + len(revisions)


async def test_a_trial_does_not_last_for_ever(world):
    async def hangs(installed):
        await asyncio.Event().wait()

    await world.publish()
    world.trial.check = hangs
    with pytest.raises(Refused, match=r"within 0\.5 s"):
        await world.life.configure("alice", "acme", CONFIGURED)


async def test_a_long_complaint_is_cut(world):
    await world.publish()
    world.trial.ill = "x" * 100_000
    with pytest.raises(Refused) as refused:
        await world.life.configure("alice", "acme", CONFIGURED)
    assert len(refused.value.finding) <= 1000


REFUSED_UPLOADS = {
    "no zip": ({"data": b"hello"}, "archive"),
    "another name": ({"name": "other"}, "name"),
    "a number that is taken": ({"summary": "Something else."}, "version"),
}


@pytest.mark.parametrize("case", REFUSED_UPLOADS)
async def test_an_upload_that_is_refused(world, case):
    changes, check = REFUSED_UPLOADS[case]
    await world.publish()
    data = changes.pop("data", None) if "data" in changes else zipped(**changes)

    async def upload():
        return data

    with pytest.raises(Refused) as refused:
        await world.life.publish("alice", "acme", upload)
    assert refused.value.check == check
    assert len((await world.life.get("alice", "acme")).versions) == 1


async def test_what_the_inspection_refuses_is_not_kept(world):
    async def refuses(file):
        raise Refused("imports", "wasi")

    world.life = Lifecycle(world.store, world.trial, inspect=refuses)
    with pytest.raises(Refused):
        await world.publish()
    with pytest.raises(UnknownAdapter):
        await world.life.get("alice", "acme")


WRONG = [
    ({"account": None}, {"account": "is missing"}),
    ({"acount": "AC1"}, {"acount": "is unknown"}),
    ({"acount": None}, {"acount": "is unknown"}),
    ({"account": 5}, {"account": "has to be of type string"}),
    ({"token": 5}, {"token": "has to be of type string"}),
    ({"token": None}, {"token": "is missing"}),
    ({"retries": "3"}, {"retries": "has to be of type integer"}),
    ({"retries": True}, {"retries": "has to be of type integer"}),
    ({"region": "Europe"}, {"region": "does not match [a-z]{2}[0-9]"}),
    ({"account": "x" * 16_385}, {"account": "has more than 16,384 characters"}),
    ({"account": 1, "more": 2}, {"account": "has to be of type string", "more": "is unknown"}),
]


@pytest.mark.parametrize(("changes", "faults"), WRONG)
async def test_a_configuration_that_is_wrong(world, changes, faults):
    await world.in_use()
    before = await world.life.get("alice", "acme")
    world.trial.tried.clear()
    with pytest.raises(NotConfigured) as wrong:
        await world.life.configure("alice", "acme", changes)
    assert wrong.value.faults == faults
    assert world.trial.tried == []
    assert await world.life.get("alice", "acme") == before


async def test_values_are_changed_one_by_one_and_secrets_sealed(world):
    await world.in_use()
    await world.life.configure("alice", "acme", {"region": "eu1", "retries": 5})
    adapter = await world.life.configure("alice", "acme", {"retries": None, "token": "new"})
    tried = world.trial.tried[-1]
    assert dict(tried.values) == {"account": "AC1", "region": "eu1", "retries": 3}
    assert tried.secrets["token"].get_secret_value() == "new"
    assert adapter.settings["token"].secret
    assert adapter.settings["token"].value is None


@pytest.mark.parametrize(
    ("asked", "now"),
    [
        ({}, "1.2.0"),
        ({"version": "1.1.0"}, "1.1.0"),
        ({"version": "1.1.0", "priority": 5}, "1.1.0"),
        ({"priority": 5}, "1.0.0"),
    ],
)
async def test_which_version_is_put_to_use(world, asked, now):
    await world.in_use()
    await world.publish("1.1.0")
    await world.publish("1.2.0")
    adapter = await world.life.activate("alice", "acme", **asked)
    assert await world.now() == now
    assert adapter.priority == asked.get("priority", 100)


async def test_a_version_is_named_by_its_digest_too(world):
    await world.in_use()
    _, version = await world.publish("1.1.0")
    await world.life.activate("alice", "acme", version.digest[:8])
    assert await world.now() == "1.1.0"
    for nothing in ("9.9.9", version.digest[:7]):
        with pytest.raises(UnknownVersion):
            await world.life.activate("alice", "acme", nothing)


async def test_going_back_needs_no_provider(world):
    await world.in_use()
    await world.in_use("1.1.0")
    world.trial.ill = "Acme is down"
    await world.life.rollback("alice", "acme")
    assert await world.now() == "1.0.0"


async def test_going_back_to_what_is_not_configured_is_refused(world):
    await world.in_use()
    await world.publish("2.0.0", configuration=RENAMED)
    await world.life.configure("alice", "acme", {"api_key": "hush"}, "2.0.0")
    await world.life.activate("alice", "acme", "2.0.0")
    world.store.configure(
        world.store.configured(await world.life.get("alice", "acme"), {"token": None})
    )
    with pytest.raises(NotConfigured) as wrong:
        await world.life.rollback("alice", "acme")
    assert wrong.value.faults == {"token": "is missing"}


async def test_there_is_nothing_to_go_back_to_at_first(world):
    await world.in_use()
    with pytest.raises(NoPrevious):
        await world.life.rollback("alice", "acme")


async def test_versions_and_adapters_go(world):
    await world.in_use()
    await world.in_use("1.1.0")
    with pytest.raises(VersionInUse):
        await world.life.remove_version("alice", "acme", "1.1.0")
    removed = await world.life.remove_version("alice", "acme", "1.0.0")
    assert removed.manifest.version == "1.0.0"
    with pytest.raises(UnknownVersion):
        await world.life.remove_version("alice", "acme", "1.0.0")
    await world.life.remove("alice", "acme")
    with pytest.raises(UnknownAdapter):
        await world.life.get("alice", "acme")


async def test_what_comes_with_hermes_is_configured_and_used_without_an_upload(world):
    world.store.offer([bundle(name="ours")])
    await world.life.configure("alice", "ours", CONFIGURED)
    adapter = await world.life.activate("alice", "ours")
    assert adapter.active_version.built_in
    assert (await world.life.get("bob", "ours")).settings == {}


async def test_a_tenant_makes_one_change_at_a_time_and_holds_nobody_up(world):
    await world.in_use()
    going_on, may_end = asyncio.Event(), asyncio.Event()

    async def slow(installed):
        going_on.set()
        await may_end.wait()
        return Health(at=None, ok=True, sick=False)

    quick, world.trial.check = world.trial.check, slow
    first = asyncio.create_task(world.life.configure("alice", "acme", {"region": "eu1"}))
    await going_on.wait()

    async def upload():
        raise AssertionError("its body is not even read")

    for change in (
        lambda: world.life.configure("alice", "acme", {"region": "eu2"}),
        lambda: world.life.activate("alice", "acme"),
        lambda: world.life.publish("alice", "acme", upload),
        lambda: world.life.remove("alice", "acme"),
    ):
        with pytest.raises(Busy):
            await change()
    world.trial.check = quick
    await world.publish(tenant="bob")
    may_end.set()
    assert (await first).settings["region"].value == "eu1"
    await world.life.configure("alice", "acme", {"region": "eu2"})
