"""What every message needs of the database, in memory: small tables, read again when they change.

Each table that is kept so is a section with a version in the database. A change moves the version
in its own transaction; every process looks at all versions twice a second, in one query on a
thread beside, and reads the sections that moved. So the path of a message never waits for the
database, and a change is in use everywhere within a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from adapters.store.database import Database
from adapters.store.schema import open_store

T = TypeVar("T")
logger = logging.getLogger(__name__)

POLL: Final = 0.5
"""Seconds between two looks at the versions."""
SLOW: Final = 0.1
"""Seconds to read a section, beyond which the others do not wait for it the next time."""

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
        self.slow = False
        self.failing = False

    def refresh(self) -> None:
        """Read it now, if it has changed: for whoever made a change and wants to see it at once.
        Raises what the database or its own loader raises: that another section cannot be read is
        not the fault of this change."""
        while True:
            slow = self.slow
            self._sections.read(slow=slow, asked=self)
            if self.slow is slow:
                return
            # It went to the others meanwhile, and perhaps before the change.

    def read(self, database: Database, version: int) -> None:
        """Have the value of a version. For Sections."""
        began = time.monotonic()
        self.value = self.load(database)
        self.version = version
        self.failing = False
        self.slow = time.monotonic() - began > SLOW


class _Lane:
    """A connection, whose sections are read one after the other. It is opened when it is needed:
    most processes have no slow section."""

    def __init__(self, where: Path | str) -> None:
        self.lock = threading.Lock()
        self._where = where
        self._database: Database | None = None

    def database(self) -> Database:
        """To be used with the lock."""
        if self._database is None:
            self._database = open_store(self._where, "hermes")
        return self._database

    def close(self) -> None:
        """End the connection."""
        with self.lock:
            if self._database is not None:
                self._database.close()


class Sections:
    """The sections of one process, followed until `close`.

    Those that took long to read when they were read last have a thread and a connection of their
    own, so that the others never wait for them.
    """

    def __init__(self, where: Path | str) -> None:
        self._lanes = {slow: _Lane(where) for slow in (False, True)}
        # Raises now what is wrong with the database.
        self._lanes[False].database()
        self._sections: dict[str, Section[Any]] = {}
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(slow,), name="sections", daemon=True)
            for slow in self._lanes
        ]
        for thread in self._threads:
            thread.start()

    def register(self, name: str, load: Callable[[Database], T]) -> Section[T]:
        """Follow a section; it has a value when this returns. `load` makes one of the database,
        on another thread than the caller's, and must not change the database. Raises ValueError
        when somebody follows it here already."""
        section = Section(self, name, load)
        lane = self._lanes[False]
        with lane.lock:
            if name in self._sections:
                raise ValueError(f"section {name} is registered twice")
            database = lane.database()
            section.read(database, _versions(database).get(name, _NEVER))
            self._sections[name] = section
        return section

    def refresh(self) -> None:
        """Read again what has changed. Raises what the database or a loader raises; the other
        sections are up to date all the same."""
        failed: Exception | None = None
        for slow in self._lanes:
            try:
                self.read(slow=slow)
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed

    def read(self, *, slow: bool, asked: Section[Any] | None = None) -> None:
        """Read again what has changed of the slow sections, or of the others. Raises as `refresh`
        does; where one is `asked` for, only what its own loader raises."""
        failed: Exception | None = None
        lane = self._lanes[slow]
        with lane.lock:
            # Only its lane makes a section go to the other: nobody else reads these now.
            sections = [one for one in list(self._sections.values()) if one.slow is slow]
            if not sections:
                return
            database = lane.database()
            versions = _versions(database)
            for section in sections:
                version = versions.get(section.name, _NEVER)
                if version == section.version:
                    continue
                try:
                    section.read(database, version)
                except Exception as error:
                    if not section.failing:
                        # Once: it is tried again twice a second.
                        logger.exception("section %s", section.name)
                    section.failing = True
                    if asked in (None, section):
                        failed = error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Follow no longer, and close the database."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        for lane in self._lanes.values():
            lane.close()

    def _follow(self, slow: bool) -> None:
        working = True
        while not self._closing.wait(POLL):
            try:
                self.read(slow=slow)
                working = True
            except Exception as error:
                if working:
                    logger.error("the settings in the database cannot be read: %s", error)
                working = False


def _versions(database: Database) -> dict[str, int]:
    # Before the data: what is read afterwards is at least as new.
    return dict(database.execute("SELECT name, version FROM sections").fetchall())
