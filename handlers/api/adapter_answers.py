"""What clients get about adapters. A secret's value is in none of it: only whether it is set."""

from __future__ import annotations

from typing import Literal

import msgspec

from adapters.wasm.installed import NOTHING_UNREAD
from adapters.wasm.manifest import ConfigurationKey, Value
from adapters.wasm.store.records import Adapter, Version
from handlers.api.answers import Instant, Links

AdapterState = Literal["available", "active", "sick"]


class VersionRef(msgspec.Struct, frozen=True):
    """A version: `version` is its manifest's number, `digest` the SHA-256 of its bundle."""

    version: str
    digest: str


class VersionView(msgspec.Struct, frozen=True):
    """A version that is kept. `size` in bytes, unpacked. `built_in` ones come with Hermes."""

    version: str
    digest: str
    summary: str
    channels: tuple[str, ...]
    hosts: tuple[str, ...]
    built_in: bool
    size: int
    published_at: Instant
    active: bool


class SettingView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of the configuration. The `value` of a secret is never shown."""

    type: Literal["string", "integer", "boolean"]
    description: str
    required: bool
    secret: bool
    set: bool
    value: Value | None = None
    default: Value | None = None
    pattern: str | None = None


class AdapterHealth(msgspec.Struct, frozen=True):
    """What the last checks said. `failures` counts those in a row."""

    at: Instant
    ok: bool
    failures: int
    detail: str | None


class UnreadWebhooks(msgspec.Struct, frozen=True):
    """Webhooks that the adapter could not read. Those that `waiting` are tried again, for a day
    after they came; those that were `given_up` in the last days are lost. `since` is when the
    oldest of them came, `kind` how the adapter failed."""

    waiting: int
    given_up: int
    since: Instant | None
    kind: str | None


class AdapterSummary(msgspec.Struct, frozen=True):
    """An adapter in the listing. `available` ones are not in use, `sick` ones are left out of the
    choice until they are well again."""

    name: str
    state: AdapterState
    summary: str
    channels: tuple[str, ...]
    active: VersionRef | None
    priority: int
    links: Links


class AdapterView(msgspec.Struct, frozen=True):
    """An adapter. `revision` is another number after each change of its configuration; `webhook` is
    the path, below Hermes's public address, that the provider has to be told, if it reports
    anything. The configuration's keys are those of the version in use, or of the newest."""

    name: str
    state: AdapterState
    summary: str
    channels: tuple[str, ...]
    active: VersionRef | None
    previous: VersionRef | None
    priority: int
    revision: int
    configuration: dict[str, SettingView]
    health: AdapterHealth | None
    unread: UnreadWebhooks | None
    webhook: str | None
    versions: list[VersionView]
    links: Links


class AdapterList(msgspec.Struct, frozen=True):
    """The tenant's adapters and those that come with Hermes, by name."""

    data: list[AdapterSummary]


class RemovedAdapter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is gone. Attempts that began with it may finish on it."""

    name: str
    removed: bool
    version: VersionRef | None = None


def adapter_summary(adapter: Adapter) -> AdapterSummary:
    """The adapter as the listing shows it."""
    shown = _shown(adapter)
    return AdapterSummary(
        name=adapter.name,
        state=_state(adapter),
        summary=shown.manifest.summary,
        channels=shown.manifest.channels,
        active=_maybe(adapter.active_version),
        priority=adapter.priority,
        links=_links(adapter.name),
    )


def adapter_view(adapter: Adapter) -> AdapterView:
    """The adapter with all that there is to know of it."""
    manifest = _shown(adapter).manifest
    webhook = None
    if manifest.webhook is not None:
        webhook = f"/v1/webhooks/{adapter.tenant}/{adapter.name}"
    return AdapterView(
        name=adapter.name,
        state=_state(adapter),
        summary=manifest.summary,
        channels=manifest.channels,
        active=_maybe(adapter.active_version),
        previous=_maybe(adapter.version(adapter.previous)),
        priority=adapter.priority,
        revision=adapter.revision,
        configuration={
            key: _setting(adapter, key, declared)
            for key, declared in manifest.configuration.items()
        },
        health=_health(adapter),
        unread=_unread(adapter),
        webhook=webhook,
        versions=[version_view(adapter, version) for version in adapter.versions],
        links=_links(adapter.name),
    )


def version_view(adapter: Adapter, version: Version) -> VersionView:
    """One version of an adapter."""
    manifest = version.manifest
    return VersionView(
        version=manifest.version,
        digest=version.digest,
        summary=manifest.summary,
        channels=manifest.channels,
        hosts=manifest.hosts,
        built_in=version.built_in,
        size=version.size,
        published_at=version.published_at,
        active=version.digest == adapter.active,
    )


def version_ref(version: Version) -> VersionRef:
    """The names of a version."""
    return VersionRef(version.manifest.version, version.digest)


def _shown(adapter: Adapter) -> Version:
    """The version whose manifest speaks for the adapter."""
    return adapter.active_version or adapter.versions[0]


def _state(adapter: Adapter) -> AdapterState:
    if adapter.active is None:
        return "available"
    return "sick" if adapter.health is not None and adapter.health.sick else "active"


def _setting(adapter: Adapter, key: str, declared: ConfigurationKey) -> SettingView:
    setting = adapter.settings.get(key)
    # What was given as a secret is not set for a version that would show it.
    known = setting is not None and setting.secret == declared.secret
    return SettingView(
        type=declared.type,
        description=declared.description,
        required=declared.required,
        secret=declared.secret,
        set=known,
        value=setting.value if known and setting is not None and not setting.secret else None,
        default=declared.default,
        pattern=declared.pattern,
    )


def _health(adapter: Adapter) -> AdapterHealth | None:
    health = adapter.health
    if health is None:
        return None
    return AdapterHealth(health.at, health.ok, health.failures, health.detail)


def _unread(adapter: Adapter) -> UnreadWebhooks | None:
    unread = adapter.unread
    if unread == NOTHING_UNREAD:
        return None
    return UnreadWebhooks(unread.waiting, unread.given_up, unread.since, unread.kind)


def _maybe(version: Version | None) -> VersionRef | None:
    return None if version is None else version_ref(version)


def _links(name: str) -> Links:
    return Links(f"/v1/adapters/{name}")
