"""The lists as one process looks them up: the image, and what has changed since.

A look costs about 2 µs and no I/O. A change is in use within a second everywhere, as its key's new
state; what changes at once by the hundred thousand is read as a new image, which a process of its
own writes meanwhile, one a machine.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.store.database import Database
from adapters.suppression import image
from adapters.suppression.hashing import Hasher, unstored
from adapters.suppression.image import Image
from adapters.suppression.store import open_lists, version
from domain.suppression import Reason, packed

logger = logging.getLogger(__name__)

MOST_CHANGES: Final = 100_000
"""Changes in memory, of some 120 octets each; beyond, a new image is due."""
_PAGE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Lists:
    """What is looked up. `changed` goes before the image."""

    image: Image
    changed: dict[int, bytes]

    def find(self, key: int) -> bytes:
        """An octet for each reason for which a key is blocked: `domain.suppression.unpacked`."""
        held = self.changed.get(key)
        return self.image.find(key) if held is None else held


class ListLoader:
    """Keeps a process's `Lists` up to date: the loader of the section.

    The first time it waits for an image, which it makes itself if none is there: 20 s for 10
    million entries. `directory` is where this machine's images are.
    """

    def __init__(self, where: Path | str, directory: Path, hasher: Hasher) -> None:
        self._where = where
        self._directory = directory
        self._hasher = hasher
        self._lists: Lists | None = None
        self._last = 0
        self._writing: subprocess.Popen[bytes] | None = None

    def __call__(self, database: Database) -> Lists:
        """See `Sections.register`. Raises WrongKey."""
        list_id = open_lists(database, self._hasher)
        rebuilt = _rebuilt(database)
        lists = self._lists
        if lists is None or lists.image.list_id != list_id:
            found = image.newest(self._directory, list_id, at_least=rebuilt)
            lists = Lists(found or write_image(database, self._directory, list_id), {})
            self._last = lists.image.number
        elif _is_due(lists, rebuilt):
            found = image.newest(self._directory, list_id, at_least=rebuilt)
            if found is not None and found.number > lists.image.number:
                lists = Lists(found, {})
                self._last = found.number
        for number, key, held in database.execute(
            "SELECT number, key, held FROM suppression_changes WHERE number > ?"
            " ORDER BY number, key",
            (self._last,),
        ):
            lists.changed[unstored(key)] = bytes(held)
            self._last = number
        if _is_due(lists, rebuilt):
            self._have_one_written(list_id)
        self._lists = lists
        return lists

    def _have_one_written(self, list_id: str) -> None:
        if self._writing is not None and self._writing.poll() is None:
            return
        logger.info("a new image of the suppression lists is being written")
        self._writing = subprocess.Popen(
            [sys.executable, "-m", "adapters.suppression.rewrite"], stdin=subprocess.PIPE
        )
        # The address may hold a password, which a command line would show.
        task = {"where": str(self._where), "directory": str(self._directory), "list": list_id}
        assert self._writing.stdin is not None
        self._writing.stdin.write(json.dumps(task).encode())
        self._writing.stdin.close()


def write_image(database: Database, directory: Path, list_id: str) -> Image:
    """Read the lists from end to end, and write their image."""
    # Before the lists: what is read afterwards is at least as new, and a change that is applied
    # once more does no harm.
    number = version(database)
    path = image.write(directory, number, list_id, _all(database))
    image.remove_older(directory, path)
    return Image(path)


def _is_due(lists: Lists, rebuilt: int) -> bool:
    return lists.image.number < rebuilt or len(lists.changed) > MOST_CHANGES


def _rebuilt(database: Database) -> int:
    row = database.execute("SELECT rebuilt FROM suppression_state WHERE id = 1").fetchone()
    return int(row[0])


def _all(database: Database) -> Iterator[tuple[int, int]]:
    """Every key with its octets, page by page: a statement that gives them all would hold the
    database's log of changes, or on PostgreSQL all rows in memory."""
    octets = {(r.value, bits): packed(r, bits) for r in Reason for bits in range(8)}
    place: tuple[str, int, str] = ("", -(1 << 63), "")
    while True:
        rows = database.execute(
            "SELECT tenant, key, reason, categories FROM suppressions"
            " WHERE (tenant, key, reason) > (?, ?, ?) ORDER BY tenant, key, reason LIMIT ?",
            (*place, _PAGE),
        ).fetchall()
        for _, key, reason, categories in rows:
            yield key + (1 << 63), octets[reason, categories]
        if len(rows) < _PAGE:
            return
        place = rows[-1][:3]
