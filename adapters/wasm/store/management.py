"""Changes to a tenant's adapters: each one transaction, seen by every process at its next poll.

Nothing here runs an adapter or looks into a bundle: `adapters.wasm.upload` does, before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from adapters.store.audit import acting, note
from adapters.store.database import Database, connect
from adapters.store.schema import migrate
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Manifest, Value
from adapters.wasm.store import reading, unread
from adapters.wasm.store.bundles import BundleFiles
from adapters.wasm.store.records import (
    BUILT_IN,
    DEFAULT_PRIORITY,
    Adapter,
    Setting,
    Version,
    encode,
    installed,
)
from adapters.wasm.store.registry import BUNDLES, open_sealer

KEEP: Final = 86_400.0
"""Seconds that a removed version stays for the attempts that began with it."""
MAX_VERSIONS: Final = 100
MAX_BYTES: Final = 268_435_456
"""Of one tenant's uploads, unpacked, with those that were removed and are kept for a while."""

Changes = Mapping[str, Value | SecretStr | None]
"""New values by key; secrets are marked by their type, None removes."""

_ROW: Final = f"SELECT {reading.ADAPTER} FROM adapters WHERE tenant = ? AND adapter = ?"
_NAMES: Final = (
    "SELECT DISTINCT adapter FROM adapter_versions WHERE tenant IN (?, ?)"
    " UNION SELECT adapter FROM adapters WHERE tenant = ? ORDER BY 1"
)
_PUBLISH: Final = (
    "INSERT INTO adapter_versions"
    " (tenant, adapter, version, component, manifest_json, size, published_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (tenant, adapter, version) DO UPDATE SET removed_at = NULL, published_at ="
    " CASE WHEN adapter_versions.removed_at IS NULL THEN adapter_versions.published_at"
    " ELSE excluded.published_at END"
)
_USED: Final = "SELECT coalesce(sum(size), 0), count(*) FROM adapter_versions WHERE tenant = ?"
_REMOVE_VERSION: Final = (
    "UPDATE adapter_versions SET removed_at = ?"
    " WHERE tenant = ? AND adapter = ? AND version = ? AND removed_at IS NULL"
)
_SWEEP_VERSIONS: Final = (
    "DELETE FROM adapter_versions WHERE removed_at < ? AND NOT EXISTS ("
    "SELECT 1 FROM adapters WHERE adapters.adapter = adapter_versions.adapter"
    " AND adapter_versions.tenant IN (adapters.tenant, '')"
    " AND adapter_versions.version IN (adapters.active, adapters.previous))"
)


class UnknownAdapter(Exception):
    """The tenant has no such adapter."""


class UnknownVersion(Exception):
    """The adapter has no such version."""


class VersionInUse(Exception):
    """The version cannot be removed; the message says why."""


class NoPrevious(Exception):
    """There is no version to go back to."""


class Overtaken(Exception):
    """Somebody else has changed the adapter since it was looked at; nothing was changed."""


class Taken(Exception):
    """There is another bundle with the same version number."""


class QuotaFull(Exception):
    """The tenant keeps as much as it may; the message says how much that is."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was checked. `digest` is its SHA-256, `component_digest` its component's."""

    digest: str
    manifest: Manifest
    manifest_json: bytes
    component: bytes
    component_digest: str
    readme: bytes | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """What is kept on disk, by name."""
        files = {"manifest.json": self.manifest_json, self.component_digest: self.component}
        return files if self.readme is None else {**files, "README.md": self.readme}

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return sum(map(len, self.files.values()))


class AdapterStore:
    """Looks at adapters and changes them. Its methods block, for some milliseconds: call them in a
    thread. Any number of threads and processes may.

    `keep` is how long, in seconds, what was removed stays for the attempts that began with it;
    `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        where: Path | str,
        data_dir: Path,
        *,
        keep: float = KEEP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises SecretsKeyError when there are secrets that cannot be opened."""
        self._where = where
        self._keep = keep
        self._clock = clock
        self._files = BundleFiles(data_dir / BUNDLES)
        with self._reading() as database:
            migrate(database, "hermes")
            self._sealer = open_sealer(database, data_dir)

    def all(self, tenant: str) -> list[Adapter]:
        """The tenant's adapters and those that come with Hermes, by name."""
        with self._reading() as database:
            names = database.execute(_NAMES, (tenant, BUILT_IN, tenant)).fetchall()
            found = [self._get(database, tenant, name) for (name,) in names]
        return [adapter for adapter in found if adapter is not None]

    def get(self, tenant: str, name: str) -> Adapter:
        """One adapter. Raises UnknownAdapter."""
        with self._reading() as database:
            return _known(self._get(database, tenant, name))

    def installed(self, adapter: Adapter, version: Version) -> Installed:
        """A version as it would run. Raises SecretsKeyError."""
        return installed(adapter, version, self._sealer, self._files)

    def publish(self, tenant: str, bundle: Bundle) -> Version:
        """Keep a version; it is not in use by that. Publishing it again changes nothing.

        Raises Taken and QuotaFull. A process that dies on the way leaves nothing that counts.
        """
        name = bundle.manifest.name
        with self._reading() as database:
            # What is refused does not come to the disk.
            self._check_new(database, tenant, bundle, reading.versions(database, tenant, name))
        self._files.add(bundle.digest, bundle.files)
        with self._change() as (database, number):
            # What was swept away meanwhile is written again.
            self._files.add(bundle.digest, bundle.files)
            kept = reading.versions(database, tenant, name)
            self._check_new(database, tenant, bundle, kept)
            self._revive(database, tenant, name, number)
            row = (
                *(tenant, name, bundle.digest, bundle.component_digest),
                *(encode(bundle.manifest), bundle.size, self._clock()),
            )
            database.execute(_PUBLISH, row)
            [version] = reading.versions(database, tenant, name, [bundle.digest])
            _audited(database, "publish", (tenant, name), version=_named(version))
            return version

    def offer(self, bundles: list[Bundle]) -> None:
        """Give every tenant these adapters, which come with Hermes, in the place of those of
        before; who uses one of those keeps it."""
        for bundle in bundles:
            self._files.add(bundle.digest, bundle.files)
        with self._change() as (database, _):
            for bundle in bundles:
                self._files.add(bundle.digest, bundle.files)
                row = (
                    *(BUILT_IN, bundle.manifest.name, bundle.digest, bundle.component_digest),
                    *(encode(bundle.manifest), bundle.size, self._clock()),
                )
                database.execute(_PUBLISH, row)
            offered = {(bundle.manifest.name, bundle.digest) for bundle in bundles}
            rows = database.execute(
                "SELECT adapter, version FROM adapter_versions WHERE tenant = ?", (BUILT_IN,)
            ).fetchall()
            for name, digest in rows:
                if (name, digest) not in offered:
                    database.execute(_REMOVE_VERSION, (self._clock(), BUILT_IN, name, digest))

    def configured(self, adapter: Adapter, changes: Changes) -> Adapter:
        """The adapter as it would be with these changes; nothing is stored."""
        settings = dict(adapter.settings)
        for key, value in changes.items():
            if value is None:
                settings.pop(key, None)
            elif isinstance(value, SecretStr):
                place = (adapter.tenant, adapter.name, key)
                settings[key] = Setting(sealed=self._sealer.seal(value.get_secret_value(), place))
            else:
                settings[key] = Setting(value)
        return replace(adapter, settings=settings)

    def configure(self, adapter: Adapter) -> None:
        """Store what `configured` gave. Raises UnknownAdapter, and Overtaken when the adapter has
        been changed since that was made."""
        place = (adapter.tenant, adapter.name)
        with self._change() as (database, number):
            current = _known(self._get(database, *place))
            if (current.revision, current.active) != (adapter.revision, adapter.active):
                raise Overtaken
            self._revive(database, *place, number)
            database.execute(
                "DELETE FROM adapter_configuration WHERE tenant = ? AND adapter = ?", place
            )
            for key, setting in adapter.settings.items():
                value = None if setting.secret else encode(setting.value)
                database.execute(
                    "INSERT INTO adapter_configuration (tenant, adapter, key, value_json, sealed)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (*place, key, value, setting.sealed),
                )
            database.execute(
                # No two configurations ever have the same number, not even of an adapter that was
                # removed and came back: a host may keep guests by it.
                "UPDATE adapters SET revision = ?, health_json = NULL, changed = ?"
                " WHERE tenant = ? AND adapter = ?",
                (number, number, *place),
            )
            # Not the values: there may be secrets among them.
            _audited(database, "configure", place, keys=sorted(adapter.settings))

    def activate(self, adapter: Adapter, digest: str, priority: int | None = None) -> None:
        """Put a version to use: new attempts take it, those that began with another finish on it.

        `adapter` is what was looked at. Raises UnknownAdapter, UnknownVersion and Overtaken.
        """
        place = (adapter.tenant, adapter.name)
        with self._change() as (database, number):
            current = _known(self._get(database, *place))
            if (current.revision, current.active) != (adapter.revision, adapter.active):
                raise Overtaken
            version = current.version(digest)
            if version is None:
                raise UnknownVersion
            self._revive(database, *place, number)
            self._switch(database, current, digest, number)
            _audited(
                database,
                "activate",
                place,
                before=_named(current.active_version),
                after=_named(version),
                priority=priority,
            )
            if priority is not None:
                database.execute(
                    "UPDATE adapters SET priority = ? WHERE tenant = ? AND adapter = ?",
                    (priority, *place),
                )

    def deactivate(self, adapter: Adapter) -> None:
        """Take an adapter out of use: new attempts pass it by, those that began with it finish on
        it. All of it is kept, and `rollback` puts the version to use again.

        Nothing changes for one that is not in use. Raises UnknownAdapter and Overtaken.
        """
        with self._change() as (database, number):
            current = _known(self._get(database, adapter.tenant, adapter.name))
            if (current.revision, current.active) != (adapter.revision, adapter.active):
                raise Overtaken
            if current.active is not None:
                database.execute(
                    "UPDATE adapters SET active = NULL, previous = ?, health_json = NULL,"
                    " changed = ? WHERE tenant = ? AND adapter = ?",
                    (current.active, number, adapter.tenant, adapter.name),
                )
                place = (adapter.tenant, adapter.name)
                _audited(database, "deactivate", place, before=_named(current.active_version))

    def rollback(self, adapter: Adapter) -> None:
        """Put the version of before to use again; the two change places.

        Raises UnknownAdapter, NoPrevious and Overtaken.
        """
        with self._change() as (database, number):
            current = _known(self._get(database, adapter.tenant, adapter.name))
            if current.previous is None:
                raise NoPrevious
            seen = (adapter.revision, adapter.active, adapter.previous)
            if (current.revision, current.active, current.previous) != seen:
                raise Overtaken
            self._switch(database, current, current.previous, number)
            _audited(
                database,
                "rollback",
                (adapter.tenant, adapter.name),
                before=_named(current.active_version),
                after=_named(current.version(current.previous)),
            )

    def remove_version(self, tenant: str, name: str, digest: str) -> None:
        """Take a version away. Attempts that began with it may finish on it for `keep` seconds.

        Raises UnknownAdapter, UnknownVersion and VersionInUse.
        """
        with self._change() as (database, number):
            adapter = _known(self._get(database, tenant, name))
            version = adapter.version(digest)
            if version is None:
                raise UnknownVersion
            if digest == adapter.active:
                raise VersionInUse("it is active: activate another one first")
            if version.built_in:
                raise VersionInUse("it comes with Hermes")
            database.execute(_REMOVE_VERSION, (self._clock(), tenant, name, digest))
            database.execute(
                "UPDATE adapters SET changed = ?,"
                " previous = CASE WHEN previous = ? THEN NULL ELSE previous END"
                " WHERE tenant = ? AND adapter = ?",
                (number, digest, tenant, name),
            )
            _audited(database, "remove-version", (tenant, name), version=_named(version))
        self.sweep()

    def remove(self, tenant: str, name: str) -> None:
        """Take an adapter out of use, and all that was uploaded away. Attempts that began with it
        may finish for `keep` seconds; then its configuration and values go as well.

        Raises UnknownAdapter, also for one that comes with Hermes and was never set up.
        """
        with self._change() as (database, number):
            row = database.execute(_ROW, (tenant, name)).fetchone()
            if row is None or row[-1] is not None:
                raise UnknownAdapter
            database.execute(
                "UPDATE adapter_versions SET removed_at = ?"
                " WHERE tenant = ? AND adapter = ? AND removed_at IS NULL",
                (self._clock(), tenant, name),
            )
            database.execute(
                "UPDATE adapters SET active = NULL, previous = NULL, health_json = NULL,"
                " removed_at = ?, changed = ? WHERE tenant = ? AND adapter = ?",
                (self._clock(), number, tenant, name),
            )
            _audited(database, "remove", (tenant, name))
        self.sweep()

    def sweep(self) -> None:
        """Delete what was removed longer than `keep` ago, and the files of nobody."""
        before = self._clock() - self._keep
        with self._alone() as database:
            database.execute(_SWEEP_VERSIONS, (before,))
            gone = database.execute(
                "SELECT tenant, adapter FROM adapters WHERE removed_at < ?", (before,)
            ).fetchall()
            for place in gone:
                _forget(database, *place)
                database.execute("DELETE FROM adapters WHERE tenant = ? AND adapter = ?", place)
        # Files go only after the rows that name them have gone for good, and while nobody can
        # publish: it looks again for the files within its own transaction.
        with self._alone() as database:
            rows = database.execute("SELECT DISTINCT version FROM adapter_versions")
            aside = self._files.set_aside({version for (version,) in rows})
        for directory in aside:
            shutil.rmtree(directory, ignore_errors=True)

    def components(self) -> frozenset[str]:
        """The digests of all components that somebody may run."""
        with self._reading() as database:
            rows = database.execute("SELECT DISTINCT component FROM adapter_versions").fetchall()
        return frozenset(digest for (digest,) in rows)

    def _get(self, database: Database, tenant: str, name: str) -> Adapter | None:
        row = database.execute(_ROW, (tenant, name)).fetchone()
        if row is not None and row[-1] is None:
            adapter = reading.adapter(database, row)
            if not adapter.versions:
                return None
            return replace(adapter, unread=unread.of_one(database, tenant, name))
        kept = [
            version
            for version in reading.versions(database, tenant, name)
            if version.removed_at is None
        ]
        # The revision goes on, so that what was made before the removal is not mistaken for new.
        revision = 0 if row is None else row[5]
        return Adapter(tenant, name, tuple(kept), revision=revision) if kept else None

    def _check_new(
        self, database: Database, tenant: str, bundle: Bundle, kept: list[Version]
    ) -> None:
        for version in kept:
            if version.digest == bundle.digest and not version.built_in:
                return
            same_number = version.manifest.version == bundle.manifest.version
            if same_number and version.removed_at is None and version.digest != bundle.digest:
                raise Taken
        size, count = database.execute(_USED, (tenant,)).fetchone()
        if count >= MAX_VERSIONS:
            raise QuotaFull(f"at most {MAX_VERSIONS} versions of all adapters are kept")
        if size + bundle.size > MAX_BYTES:
            raise QuotaFull(f"at most {MAX_BYTES:,} bytes of all versions are kept")

    def _revive(self, database: Database, tenant: str, name: str, number: int) -> None:
        """Make sure of the adapter's row; one that was removed begins anew."""
        row = database.execute(_ROW, (tenant, name)).fetchone()
        if row is None:
            database.execute(
                "INSERT INTO adapters (tenant, adapter, priority, revision, changed)"
                " VALUES (?, ?, ?, ?, ?)",
                (tenant, name, DEFAULT_PRIORITY, number, number),
            )
        elif row[-1] is not None:
            _forget(database, tenant, name)
            database.execute(
                "UPDATE adapters SET removed_at = NULL, priority = ?, revision = ?, changed = ?"
                " WHERE tenant = ? AND adapter = ?",
                (DEFAULT_PRIORITY, number, number, tenant, name),
            )

    def _switch(self, database: Database, adapter: Adapter, digest: str, number: int) -> None:
        previous = adapter.previous if digest == adapter.active else adapter.active
        database.execute(
            "UPDATE adapters SET active = ?, previous = ?, health_json = NULL, changed = ?"
            " WHERE tenant = ? AND adapter = ?",
            (digest, previous, number, adapter.tenant, adapter.name),
        )

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        database = connect(self._where)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def _alone(self) -> Iterator[Database]:
        """A transaction beside which nobody changes an adapter."""
        with self._reading() as database, database.transaction():
            database.execute("UPDATE adapter_changes SET number = number WHERE id = 1")
            yield database

    @contextmanager
    def _change(self) -> Iterator[tuple[Database, int]]:
        """A transaction that other processes will see, and its number."""
        with self._reading() as database, database.transaction():
            database.execute("UPDATE adapter_changes SET number = number + 1 WHERE id = 1")
            yield database, reading.change_number(database)


def _known(adapter: Adapter | None) -> Adapter:
    if adapter is None:
        raise UnknownAdapter
    return adapter


def _audited(database: Database, what: str, place: tuple[str, str], **detail: Any) -> None:
    """Note who did what to a tenant's adapter."""
    tenant, name = place
    told = {key: value for key, value in detail.items() if value is not None}
    note(database, acting.get(), tenant, f"adapter.{what}", name, told)


def _named(version: Version | None) -> str | None:
    """A version as people know it."""
    return None if version is None else f"{version.manifest.version} ({version.digest[:12]})"


def _forget(database: Database, tenant: str, name: str) -> None:
    for table in ("adapter_configuration", "adapter_values"):
        database.execute(f"DELETE FROM {table} WHERE tenant = ? AND adapter = ?", (tenant, name))
