"""The adapters in use, in memory, as every process that calls them has it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from adapters.store.group_commit import GroupCommit
from adapters.store.schema import migrate
from adapters.store.sqlite import SqliteDatabase, open_file
from adapters.wasm.installed import Health, Installed
from adapters.wasm.store import reading
from adapters.wasm.store.bundles import BundleFiles
from adapters.wasm.store.records import MIN_DIGITS, Adapter, encode, installed
from adapters.wasm.store.sealing import Sealer, SecretsKeyError, load_key

SECRETS_KEY: Final = "secrets.key"
"""The key file's name in the data directory."""
BUNDLES: Final = "adapters"
"""The bundles' directory in the data directory."""

_PINNED: Final = 1024
"""Versions of earlier attempts that are kept in memory; the oldest goes first."""
_CHANGED = f"SELECT {reading.ADAPTER}, changed FROM adapters WHERE changed > ?"
_ONE = f"SELECT {reading.ADAPTER} FROM adapters WHERE tenant = ? AND adapter = ?"
_BEGINS: Final = (
    "SELECT DISTINCT version FROM adapter_versions"
    " WHERE tenant IN (?, '') AND adapter = ? AND substr(version, 1, ?) = ?"
)
_CHANGE: Final = "UPDATE adapter_changes SET number = number + 1 WHERE id = ?"
_HEALTH: Final = (
    "UPDATE adapters SET health_json = ?,"
    " changed = (SELECT number FROM adapter_changes WHERE id = 1)"
    " WHERE tenant = ? AND adapter = ? AND active = ? AND revision = ?"
)
logger = logging.getLogger(__name__)

_Key = tuple[str, str]


class SqliteRegistry:
    """See `adapters.wasm.installed.Registry`. One file, which several processes share.

    Reads and polls run on the caller's thread: a poll that finds nothing new costs some
    microseconds, one that does a tenth of a millisecond for each adapter that has changed. In the
    write-ahead log no reader waits for a writer.
    """

    def __init__(self, path: Path, data_dir: Path) -> None:
        """Raises SecretsKeyError when there are secrets that cannot be opened."""
        self._files = BundleFiles(data_dir / BUNDLES)
        self._database = open_file(path)
        migrate(self._database, "hermes")
        self._sealer = open_sealer(self._database, data_dir)
        self._writer = GroupCommit(open_file(path))
        self._seen: int | None = None
        self._number = -1
        self._active: dict[_Key, Installed] = {}
        self._health: dict[_Key, Health] = {}
        self._pinned: dict[tuple[str, str, str], Installed] = {}
        self._by_channel: dict[_Key, list[Installed]] = {}
        self._read_changes()

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()
        self._database.close()

    async def refresh(self) -> bool:
        """See `Registry`."""
        # This counter also moves with the message log, which is written all the time. It is read
        # first: a change between the two reads is seen the next time.
        seen = self._database.execute("PRAGMA data_version").fetchone()[0]
        if seen == self._seen:
            return False
        changed = reading.change_number(self._database) != self._number and self._read_changes()
        # Not before: what could not be read is read the next time.
        self._seen = seen
        return changed

    def active(self, tenant: str, adapter: str) -> Installed | None:
        """See `Registry`."""
        return self._active.get((tenant, adapter))

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        """See `Registry`."""
        current = self._active.get((tenant, adapter))
        if len(version) < MIN_DIGITS:
            return None
        if current is not None and current.version.startswith(version):
            return current
        place = (tenant, adapter, version)
        found = self._pinned.get(place) or self._find(*place)
        if found is not None and place not in self._pinned:
            while len(self._pinned) >= _PINNED:
                self._pinned.pop(next(iter(self._pinned)))
            self._pinned[place] = found
        return found

    def all_active(self) -> list[Installed]:
        """See `Registry`."""
        return list(self._active.values())

    def choose(self, tenant: str, channel: str) -> list[Installed]:
        """See `Registry`. The lowest priority number goes first."""
        return list(self._by_channel.get((tenant, channel), ()))

    def health(self, tenant: str, adapter: str) -> Health | None:
        """What the last check of the version in use said, here or in another process."""
        return self._health.get((tenant, adapter))

    async def note_health(self, installed: Installed, health: Health) -> None:
        """See `Registry`. What was found about a version or a configuration that is not in use any
        more is dropped."""
        key = (installed.tenant, installed.adapter)
        current = self._active.get(key)
        if current is not None and _same(current, installed):
            self._health[key] = health
            self._sort(installed.tenant)
        row = (encode(health), *key, installed.version, installed.revision)
        self._writer.note(_CHANGE, (1,))
        await self._writer.write(_HEALTH, row)

    def _read_changes(self) -> bool:
        """Take in what has changed; one snapshot of the database."""
        self._database.execute("BEGIN")
        try:
            number = reading.change_number(self._database)
            rows = self._database.execute(_CHANGED, (self._number,)).fetchall()
            for *row, _ in rows:
                self._take_in(row)
        finally:
            self._database.execute("COMMIT")
        self._number = number
        for tenant in {row[0] for row in rows}:
            self._sort(tenant)
        return bool(rows)

    def _take_in(self, row: list[Any]) -> None:
        adapter = reading.adapter(self._database, row, removed=True, only=[row[2]])
        key = (adapter.tenant, adapter.name)
        for place in [place for place in self._pinned if place[:2] == key]:
            del self._pinned[place]
        self._health.pop(key, None)
        version = adapter.active_version
        now = None
        if version is not None:
            before = self._active.get(key)
            if before is not None and _same(before, (version.digest, adapter.revision)):
                # The same object again, for whoever keeps something for it.
                now = (
                    before
                    if before.priority == adapter.priority
                    else replace(before, priority=adapter.priority)
                )
            else:
                now = self._installed(adapter, version.digest)
        if now is None:
            self._active.pop(key, None)
            return
        self._active[key] = now
        if adapter.health is not None:
            self._health[key] = adapter.health

    def _find(self, tenant: str, name: str, version: str) -> Installed | None:
        row = self._database.execute(_ONE, (tenant, name)).fetchone()
        if row is None:
            return None
        found = self._database.execute(_BEGINS, (tenant, name, len(version), version)).fetchall()
        if len(found) != 1:
            return None
        [(digest,)] = found
        return self._installed(
            reading.adapter(self._database, row, removed=True, only=[digest]), digest
        )

    def _installed(self, adapter: Adapter, digest: str) -> Installed | None:
        version = adapter.version(digest)
        if version is None:
            return None
        try:
            return installed(adapter, version, self._sealer, self._files)
        except SecretsKeyError as error:
            # One adapter that cannot be used is no reason to lose sight of the others.
            logger.error("adapter %s of %s is not used: %s", adapter.name, adapter.tenant, error)
            return None

    def _sort(self, tenant: str) -> None:
        """Make the tenant's choice for each channel anew."""
        for key in [key for key in self._by_channel if key[0] == tenant]:
            del self._by_channel[key]
        usable = [
            one
            for key, one in self._active.items()
            if key[0] == tenant and not ((health := self._health.get(key)) and health.sick)
        ]
        for one in sorted(usable, key=lambda one: (one.priority, one.adapter)):
            for channel in one.manifest.channels:
                self._by_channel.setdefault((tenant, channel), []).append(one)


def open_sealer(database: SqliteDatabase, data_dir: Path) -> Sealer:
    """The data directory's key. Raises SecretsKeyError when the database has secrets that it does
    not open."""
    rows = database.execute(
        "SELECT DISTINCT substr(sealed, 1, 8) FROM adapter_configuration WHERE sealed IS NOT NULL"
    ).fetchall()
    sealer = load_key(data_dir / SECRETS_KEY, needed=bool(rows))
    for (beginning,) in rows:
        if not sealer.made(bytes(beginning)):
            raise SecretsKeyError(
                f"{data_dir / SECRETS_KEY} is not the key that sealed the adapters' secrets: "
                "bring that one back"
            )
    return sealer


def _same(one: Installed, other: Installed | tuple[str, int]) -> bool:
    wanted = other if isinstance(other, tuple) else (other.version, other.revision)
    return (one.version, one.revision) == wanted
