"""One administrative change: all of it or nothing, and seen by every process within a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from adapters.store.database import Database
from adapters.store.schema import open_store
from adapters.store.sections import touch


@contextmanager
def change(where: Path | str, *sections: str) -> Iterator[Database]:
    """A transaction on a connection of its own, which ends with the block. `sections` are what it
    changes: each is changed by one process at a time, so what is read in the block stays true.

    It blocks, for some milliseconds: call it in a thread.
    """
    with closing(open_store(where, "hermes")) as database, database.transaction():
        for section in sorted(sections):
            touch(database, section)
        yield database


@contextmanager
def looking(where: Path | str) -> Iterator[Database]:
    """A connection of its own to read from, which ends with the block. It blocks."""
    with closing(open_store(where, "hermes")) as database:
        yield database
