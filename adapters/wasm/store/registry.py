"""The adapters in use, in memory, as every process that calls them has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from adapters.store.database import Database, connect, is_postgres
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store
from adapters.wasm.installed import Health, Installed
from adapters.wasm.store import reading
from adapters.wasm.store.bundles import BundleFiles
from adapters.wasm.store.records import MIN_DIGITS, Adapter, encode, installed
from adapters.wasm.store.sealing import Sealer, SecretsKeyError, load_key
from domain.channels import CHANNELS

SECRETS_KEY: Final = "secrets.key"
"""The key file's name in the data directory."""
BUNDLES: Final = "adapters"
"""The bundles' directory in the data directory."""

_SHOWN_ANEW: Final = timedelta(minutes=10)
"""How old the time of the last check may be that is shown, while nothing else changes."""
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
T = TypeVar("T")


class _Changes(NamedTuple):
    """What one look at the database found. `seen` is its change counter before it was read."""

    seen: int | None
    number: int
    adapters: list[Adapter]
    tenants: set[str]


class SqliteRegistry:
    """See `adapters.wasm.installed.Registry`. One database, which several processes share.

    A file is read on the caller's thread: a poll that finds nothing new costs some microseconds,
    one that does a tenth of a millisecond for each adapter that has changed, and in the write-ahead
    log no reader waits for a writer. A server is asked on a thread of its own: it may be away.
    """

    def __init__(self, where: Path | str, data_dir: Path) -> None:
        """Raises SecretsKeyError when there are secrets that cannot be opened."""
        self._files = BundleFiles(data_dir / BUNDLES)
        self._database = open_store(where, "hermes")
        self._thread = ThreadPoolExecutor(1, "registry") if is_postgres(where) else None
        self._sealer = open_sealer(self._database, data_dir)
        self._writer = GroupCommit(connect(where))
        self._seen: int | None = None
        self._number = -1
        self._active: dict[_Key, Installed] = {}
        self._health: dict[_Key, Health] = {}
        self._pinned: dict[tuple[str, str, str], Installed] = {}
        self._by_channel: dict[_Key, list[Installed]] = {}
        # The names of each tenant's, so that a change of one looks at nobody else's.
        self._of_tenant: dict[str, set[str]] = {}
        self._written: dict[_Key, Health] = {}
        found = self._look()
        assert found is not None
        self._take_in(found)

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        self._database.close()

    async def refresh(self) -> bool:
        """See `Registry`."""
        found = await self._asked(self._look)
        return found is not None and self._take_in(found)

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
        found = self._pinned.get(place) or await self._asked(lambda: self._find(*place))
        if found is not None and place not in self._pinned:
            while len(self._pinned) >= _PINNED:
                self._pinned.pop(next(iter(self._pinned)))
            self._pinned[place] = found
        return found

    def all_active(self) -> list[Installed]:
        """See `Registry`."""
        return list(self._active.values())

    def of(self, tenant: str) -> list[Installed]:
        """See `Registry`."""
        return [self._active[tenant, name] for name in sorted(self._of_tenant.get(tenant, ()))]

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
            before = self._health.get(key)
            self._health[key] = health
            if (before is not None and before.sick) != health.sick:
                self._sort(installed.tenant)
            if _says_nothing_new(self._written.get(key), health):
                # Every process would read it again, of every adapter at every check.
                return
            self._written[key] = health
        row = (encode(health), *key, installed.version, installed.revision)
        self._writer.note(_CHANGE, (1,))
        await self._writer.write(_HEALTH, row)

    async def _asked(self, look: Callable[[], T]) -> T:
        if self._thread is None:
            return look()
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    def _look(self) -> _Changes | None:
        """Read what has changed, None for nothing; it changes nothing here."""
        # The counter also moves with the message log, which is written all the time. It is read
        # first: a change between the two reads is seen the next time.
        seen = self._database.changes()
        if seen is not None and seen == self._seen:
            return None
        adapters: list[Adapter] = []
        with self._database.snapshot():
            number = reading.change_number(self._database)
            rows = []
            if number != self._number:
                rows = self._database.execute(_CHANGED, (self._number,)).fetchall()
            for *row, _ in rows:
                try:
                    adapters.append(
                        reading.adapter(self._database, row, removed=True, only=[row[2]])
                    )
                except msgspec.MsgspecError as error:
                    # One row that cannot be read is no reason to lose sight of the others.
                    logger.error("adapter %s of %s is not taken in: %s", row[1], row[0], error)
        return _Changes(seen, number, adapters, {row[0] for row in rows})

    def _take_in(self, found: _Changes) -> bool:
        """Use what was read; True when there was something."""
        for adapter in found.adapters:
            self._take_in_one(adapter)
        self._number = found.number
        for tenant in found.tenants:
            self._sort(tenant)
        # Not before: what could not be read is read the next time.
        self._seen = found.seen
        return bool(found.tenants)

    def _take_in_one(self, adapter: Adapter) -> None:
        key = (adapter.tenant, adapter.name)
        for place in [place for place in self._pinned if place[:2] == key]:
            del self._pinned[place]
        self._health.pop(key, None)
        self._written.pop(key, None)
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
            self._of_tenant.get(adapter.tenant, set()).discard(adapter.name)
            return
        self._active[key] = now
        self._of_tenant.setdefault(adapter.tenant, set()).add(adapter.name)
        if adapter.health is not None:
            self._health[key] = self._written[key] = adapter.health

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
        for channel in CHANNELS:
            self._by_channel.pop((tenant, channel), None)
        usable = [
            one
            for one in self.of(tenant)
            if not ((health := self._health.get((tenant, one.adapter))) and health.sick)
        ]
        for one in sorted(usable, key=lambda one: (one.priority, one.adapter)):
            for channel in one.manifest.channels:
                self._by_channel.setdefault((tenant, channel), []).append(one)


def open_sealer(database: Database, data_dir: Path) -> Sealer:
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


def _says_nothing_new(written: Health | None, health: Health) -> bool:
    return (
        written is not None
        and replace(written, at=health.at) == health
        and health.at - written.at < _SHOWN_ANEW
    )


def _same(one: Installed, other: Installed | tuple[str, int]) -> bool:
    wanted = other if isinstance(other, tuple) else (other.version, other.revision)
    return (one.version, one.revision) == wanted
