from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.wasm.store.management import AdapterStore
from adapters.wasm.store.registry import SqliteRegistry
from tests.unit.wasm.bundles import bundle


class World:
    """A data directory and a database, as several processes share them."""

    def __init__(self, directory: Path, where: Path | str) -> None:
        self.directory = directory
        self.where = where
        self.now = 1_000_000.0
        self.store = self.another_store()

    def another_store(self) -> AdapterStore:
        return AdapterStore(self.where, self.directory, clock=lambda: self.now)

    def registry(self) -> SqliteRegistry:
        return SqliteRegistry(self.where, self.directory)

    def use(self, tenant="alice", version="1.0.0", **changes):
        """Publish a version, configure it if nobody has, and put it to use; its digest."""
        made = bundle(version, **changes)
        name = made.manifest.name
        self.store.publish(tenant, made)
        adapter = self.store.get(tenant, name)
        if not adapter.settings:
            values = {"account": f"of {tenant}", "token": SecretStr(f"secret of {tenant}")}
            self.store.configure(self.store.configured(adapter, values))
        self.store.activate(self.store.get(tenant, name), made.digest)
        return made.digest

    def kept(self) -> set[str]:
        """The bundles on disk."""
        return {path.name for path in (self.directory / "adapters").iterdir()}


@pytest.fixture
def world(tmp_path, where):
    return World(tmp_path / "data", where)
