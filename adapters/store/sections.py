"""What every message needs of the database, in memory: small tables, read again when they change.

Each table that is kept so is a section with a version in the database. A change moves the version
in its own transaction; every process looks at all versions twice a second, in one query on a
thread of its own, and reads the sections that moved. So the path of a message never waits for the
database, and a change is in use everywhere within a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from adapters.store.database import Database
from adapters.store.schema import open_store

T = TypeVar("T")
logger = logging.getLogger(__name__)

POLL: Final = 0.5
"""Seconds between two looks at the versions."""

_TOUCH: Final = (
    "INSERT INTO sections (name, version) VALUES (?, 1)"
    " ON CONFLICT (name) DO UPDATE SET version = sections.version + 1"
)
_NEVER: Final = 0


def touch(database: Database, name: str) -> None:
    """Say that a section has changed: to be called in the transaction of the change."""
    database.execute(_TOUCH, (name,))


class Section(Generic[T]):
    """One section. `value` is what its loader made of the database: shared by all who read it,
    and so never to be changed."""

    value: T

    def __init__(self, sections: Sections, name: str, load: Callable[[Database], T]) -> None:
        self._sections = sections
        self.name = name
        self.load = load
        self.version = _NEVER

    def refresh(self) -> None:
        """Read it now, if it has changed: for whoever made a change and wants to see it at once.
        Raises what the database raises."""
        self._sections.refresh()


class Sections:
    """The sections of one process, followed until `close`."""

    def __init__(self, where: Path | str) -> None:
        self._database = open_store(where, "hermes")
        self._sections: dict[str, Section[Any]] = {}
        # One connection, which `refresh` and the thread use in turn.
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="sections", daemon=True)
        self._thread.start()

    def register(self, name: str, load: Callable[[Database], T]) -> Section[T]:
        """Follow a section; it has a value when this returns. `load` makes one of the database,
        on another thread than the caller's, and must not change the database. Raises ValueError
        when somebody follows it here already."""
        section = Section(self, name, load)
        with self._lock:
            if name in self._sections:
                raise ValueError(f"section {name} is registered twice")
            section.version = self._versions().get(name, _NEVER)
            section.value = load(self._database)
            self._sections[name] = section
        return section

    def refresh(self) -> None:
        """Read again what has changed. Raises what the database or a loader raises; the other
        sections are up to date all the same."""
        failed: Exception | None = None
        with self._lock:
            versions = self._versions()
            for name, section in self._sections.items():
                version = versions.get(name, _NEVER)
                if version == section.version:
                    continue
                try:
                    section.value = section.load(self._database)
                except Exception as error:
                    logger.exception("section %s", name)
                    failed = error
                else:
                    section.version = version
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Follow no longer, and close the database."""
        self._closing.set()
        self._thread.join()
        with self._lock:
            self._database.close()

    def _follow(self) -> None:
        working = True
        while not self._closing.wait(POLL):
            try:
                self.refresh()
                working = True
            except Exception as error:
                if working:
                    logger.error("the settings in the database cannot be read: %s", error)
                working = False

    def _versions(self) -> dict[str, int]:
        # Before the data: what is read afterwards is at least as new.
        return dict(self._database.execute("SELECT name, version FROM sections").fetchall())
