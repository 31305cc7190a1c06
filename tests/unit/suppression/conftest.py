"""Lists in an empty database of each kind, as a process has them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.store.schema import open_store
from adapters.store.sections import Section, Sections
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import ListLoader, Lists
from adapters.suppression.rewrite import rewrite
from adapters.suppression.store import SECTION, SuppressionStore, open_lists
from domain.suppression import Block, canonical, unpacked

SECRET = bytes(range(32))


@dataclass
class Process:
    """One process: its lists in memory, and the images of its machine."""

    where: Path | str
    directory: Path
    hasher: Hasher
    sections: Sections
    lists: Section[Lists]

    def blocks(self, tenant: str, address: str, channel: str = "sms") -> list[Block]:
        """What is held against an address, as this process knows it at the moment."""
        key = self.hasher.key(tenant, channel, canonical(channel, address))
        return [unpacked(octet) for octet in self.lists.value.find(key)]


@dataclass
class World:
    """A database and the processes that use it."""

    where: Path | str
    directory: Path
    hasher: Hasher = field(default_factory=lambda: Hasher(SECRET))
    processes: list[Process] = field(default_factory=list)

    @property
    def store(self) -> SuppressionStore:
        return SuppressionStore(self.where, self.hasher)

    def process(self, machine: str = "one") -> Process:
        """Start one."""
        sections = Sections(self.where)
        directory = self.directory / machine
        lists = sections.register(SECTION, ListLoader(self.where, directory, self.hasher))
        process = Process(self.where, directory, self.hasher, sections, lists)
        self.processes.append(process)
        return process

    def rewrite(self, machine: str = "one") -> None:
        """What a process of its own does when a new image is due."""
        with closing(open_store(self.where, "hermes")) as database:
            list_id = open_lists(database, self.hasher)
        rewrite(self.where, self.directory / machine, list_id)


@pytest.fixture
def world(where: Path | str, tmp_path: Path):
    world = World(where, tmp_path / "images")
    yield world
    for process in world.processes:
        process.sections.close()
