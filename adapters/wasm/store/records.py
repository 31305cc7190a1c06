"""What the store keeps of adapters, as rows and as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from adapters.wasm.installed import NOTHING_UNREAD, Health, Installed, Unread
from adapters.wasm.manifest import Manifest, Value
from adapters.wasm.store.bundles import BundleFiles
from adapters.wasm.store.sealing import Sealer

BUILT_IN: Final = ""
"""In the place of the tenant: the versions that come with Hermes, for all."""

MIN_DIGITS: Final = 8
"""How much of a version's digest names it."""

DEFAULT_PRIORITY: Final = 100

encode: Final = msgspec.json.Encoder().encode
decode_health: Final = msgspec.json.Decoder(Health).decode
# The store's own texts were checked when they came; a later Hermes may add keys.
_decode_manifest: Final = msgspec.json.Decoder(Manifest).decode


@dataclass(frozen=True, slots=True)
class Version:
    """One bundle that is kept. `digest` is its SHA-256, `component` that of its component, `size`
    the bytes of both unpacked. One with `removed_at` is kept only for what began with it."""

    digest: str
    component: str
    manifest: Manifest
    size: int
    published_at: datetime
    built_in: bool
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a configuration; a secret one is sealed."""

    value: Value | None = None
    sealed: bytes | None = None

    @property
    def secret(self) -> bool:
        """Whether it may never be shown."""
        return self.sealed is not None


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter as one tenant has it. `revision` changes with each change of the configuration;
    `active` and `previous` are digests of `versions`, which are sorted newest first."""

    tenant: str
    name: str
    versions: tuple[Version, ...]
    active: str | None = None
    previous: str | None = None
    priority: int = DEFAULT_PRIORITY
    revision: int = 0
    settings: Mapping[str, Setting] = field(default_factory=dict)
    health: Health | None = None
    unread: Unread = NOTHING_UNREAD

    def version(self, digest: str | None) -> Version | None:
        """The version with this digest."""
        return next((each for each in self.versions if each.digest == digest), None)

    def named(self, name: str) -> Version | None:
        """The version that a person means: by its number, or by the beginning of its digest."""
        for version in self.versions:
            if name == version.manifest.version or (
                len(name) >= MIN_DIGITS and version.digest.startswith(name)
            ):
                return version
        return None

    @property
    def active_version(self) -> Version | None:
        """The version in use."""
        return self.version(self.active)


def read_manifest_row(stored: bytes) -> Manifest:
    """A manifest that was checked before it was stored."""
    return _decode_manifest(stored)


def applicable(manifest: Manifest, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Those of the settings that a manifest's version gets to know.

    What was given as a secret is none of a version that does not mark it: it would be shown.
    """
    return {
        key: setting
        for key, setting in settings.items()
        if key in manifest.configuration and manifest.configuration[key].secret == setting.secret
    }


def installed(adapter: Adapter, version: Version, sealer: Sealer, files: BundleFiles) -> Installed:
    """A version with the tenant's configuration, its secrets opened. Raises SecretsKeyError."""
    values: dict[str, Any] = dict(version.manifest.defaults())
    opened: dict[str, SecretStr] = {}
    for key, setting in applicable(version.manifest, adapter.settings).items():
        if setting.sealed is None:
            values[key] = setting.value
        else:
            opened[key] = SecretStr(
                sealer.open(setting.sealed, (adapter.tenant, adapter.name, key))
            )
    return Installed(
        tenant=adapter.tenant,
        adapter=adapter.name,
        version=version.digest,
        revision=adapter.revision,
        manifest=version.manifest,
        component=files.file(version.digest, version.component),
        values=values,
        secrets=opened,
        priority=adapter.priority,
    )


def moment(seconds: float | None) -> datetime | None:
    """A stored time, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
