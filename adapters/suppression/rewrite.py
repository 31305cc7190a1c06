"""Writes this machine's image of the lists, in a process of its own: it keeps a core busy for some
20 s when there are 10 million entries, for which no message should wait."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from adapters.store.database import Database
from adapters.store.schema import open_store
from adapters.store.sections import touch
from adapters.suppression import image
from adapters.suppression.index import write_image
from adapters.suppression.store import SECTION, version

_KEPT: Final = 86_400.0
"""Seconds for which changes are kept that the newest image has: a process that could not read the
database for a while takes them up again."""


def rewrite(where: Path | str, directory: Path, list_id: str) -> None:
    """Write an image that has every change up to now, and have every process look for it. Of
    several on a machine one writes, and the others find that it was done."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_store(where, "hermes")) as database:
        wanted = version(database)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if image.newest(directory, list_id, at_least=wanted) is None:
                written = write_image(database, directory, list_id)
                _prune(database, written.number)
        finally:
            os.close(lock)
        with database.transaction():
            touch(database, SECTION)


def _prune(database: Database, number: int) -> None:
    """Forget changes that this image has, and that everybody else has had time for. An image from
    before them is of no use any more."""
    old = (number, time.time() - _KEPT)
    with database.transaction():
        row = database.execute(
            "SELECT MAX(number) FROM suppression_changes WHERE number <= ? AND changed_at < ?", old
        ).fetchone()
        if row[0] is None:
            return
        database.execute("DELETE FROM suppression_changes WHERE number <= ?", (row[0],))
        database.execute(
            "UPDATE suppression_state SET rebuilt = ? WHERE id = 1 AND rebuilt < ?",
            (row[0], row[0]),
        )


if __name__ == "__main__":
    os.nice(5)
    task = json.load(sys.stdin)
    place = str(task["where"])
    rewrite(
        place if place.startswith("postgres") else Path(place),
        Path(task["directory"]),
        task["list"],
    )
