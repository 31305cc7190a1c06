"""A whole list from a CSV file: read, checked, hashed, sorted, written.

What is written in the order of its keys goes through the table once; in the order of the file, 10
million rows would touch every page of it again and again. So lines are dealt into heaps on disk by
their keys' first bits, and each heap is sorted in memory. The database is held for 20,000 rows at a
time, or for some hundred where each is told to every process, so that others come to write between.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec

from adapters.store.database import Database
from adapters.store.sections import touch
from adapters.store.sqlite import SqliteDatabase
from adapters.suppression.hashing import Hasher, unstored
from adapters.suppression.store import SECTION, WIDENED, note_changes, version
from domain.channels.rules import AddressProblem
from domain.message import Category
from domain.suppression import RULES, Reason, canonical, masked, to_bits

HEADINGS: Final = frozenset({"address", "phone", "number", "msisdn", "email", "recipient", "to"})
"""First cells that make the first line a heading, in any case."""
MOST_FAULTS: Final = 100
"""Lines that were refused and are named; the others are only counted."""
FEW: Final = 10_000
"""Up to so many new entries are told to every process one by one; more make a new image due."""
_LONGEST_LINE: Final = 4096
_AROUND: Final = ' \t\r"\ufeff'
_HEAP_BITS: Final = 6
_BLOCK: Final = 1 << 20
_DEALT: Final = 8_192
_ROWS: Final = 20_000
_FEW_ROWS: Final = 500
_BREATH: Final = 0.002
"""Seconds for which others may have the database, after each group of rows."""

_TARGET: Final = (
    "INSERT INTO suppressions"
    " (tenant, key, reason, channel, categories, masked, source, imported, created_at)"
)
# One statement with all rows in one JSON object, keys by masked addresses: 0.8 µs a row on SQLite,
# where binding them one by one takes 4.
_SQLITE: Final = (
    f"{_TARGET} SELECT ?, CAST(key AS INTEGER), ?, ?, ?, value, ?, 1, ? FROM json_each(?)"
    f" WHERE true{WIDENED}"
)
_POSTGRES: Final = (
    f"{_TARGET} SELECT CAST(? AS TEXT), CAST(key AS INTEGER), CAST(? AS TEXT), CAST(? AS TEXT),"
    " CAST(? AS INTEGER), value, CAST(? AS TEXT), 1, CAST(? AS REAL)"
    f" FROM json_each_text(CAST(? AS JSON)){WIDENED}"
)
_SIGN: Final = 1 << 63


class Fault(msgspec.Struct, frozen=True):
    """A line that was refused, counted from 1, and why."""

    line: int
    code: str


@dataclass(slots=True)
class Imported:
    """What became of a file. `lines` are those with an address; `added` are the entries that were
    new or changed, the others were there."""

    lines: int = 0
    added: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, line: int, code: str) -> None:
        """Count a line that was refused."""
        self.refused += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(line, code))


@dataclass(frozen=True, slots=True)
class Purpose:
    """Whose list it is for, on which channel, and what the entries block. `source` is the import's
    id."""

    tenant: str
    channel: str
    categories: frozenset[Category] = RULES[Reason.MANUAL].categories
    source: str = ""


def import_file(
    database: Database,
    hasher: Hasher,
    file: IO[str],
    purpose: Purpose,
    scratch: Path,
    progress: Callable[[Imported], None] = lambda imported: None,
) -> Imported:
    """Put every address of a CSV file on a list: the first cell of each line, with or without a
    heading. May be repeated; what an entry blocked already it goes on blocking. `scratch` is a
    directory on disk; `progress` is told now and then.

    When it returns everything is in the database. It is in use at once, in the way of any change,
    if there were few; many need a new image (`rewrite`), and the section has been touched for it.
    """
    imported = Imported()
    with ExitStack() as stack:
        heaps: list[IO[str]] = [
            stack.enter_context(tempfile.TemporaryFile("w+", dir=scratch))
            for _ in range(1 << _HEAP_BITS)
        ]
        _deal(file, hasher, purpose, imported, heaps, progress)
        few = imported.lines <= FEW
        for place, heap in enumerate(heaps):
            rows = _heap(heap, place)
            most = _FEW_ROWS if few else _ROWS
            for start in range(0, len(rows), most):
                group = rows[start : start + most]
                began = time.monotonic()
                imported.added += _write(database, purpose, group, few=few)
                progress(imported)
                # Few take no time to speak of: others have the database for as long.
                time.sleep(max(_BREATH, time.monotonic() - began if few else 0.0))
    if not few:
        with database.transaction():
            touch(database, SECTION)
            database.execute(
                "UPDATE suppression_state SET rebuilt = ? WHERE id = 1", (version(database),)
            )
    return imported


def _deal(
    file: IO[str],
    hasher: Hasher,
    purpose: Purpose,
    imported: Imported,
    heaps: list[IO[str]],
    progress: Callable[[Imported], None],
) -> None:
    """Deal the entries of a file into heaps, each a line `"key":"masked address"`, the key of one
    width. One loop, without a call more than it needs: it runs 10 million times."""
    channel = purpose.channel
    begun = hasher.begin(purpose.tenant, channel)
    number_of = int.from_bytes
    shift = 8 - _HEAP_BITS
    hands: list[list[str]] = [[] for _ in heaps]
    line_number = 0
    for lines in _blocks(file):
        for line in lines:
            line_number += 1
            address = line.partition(",")[0].strip(_AROUND)
            try:
                plain = canonical(channel, address)
            except AddressProblem as problem:
                if address and not (line_number == 1 and address.lower() in HEADINGS):
                    imported.refuse(line_number, problem.code)
                continue
            hashed = begun.copy()
            hashed.update(plain.encode())
            digest = hashed.digest()
            hand = hands[digest[0] >> shift]
            hand.append(f'"{number_of(digest) - _SIGN:20d}":"{masked(channel, plain)}"\n')
            imported.lines += 1
        for hand, heap in zip(hands, heaps, strict=True):
            if len(hand) >= _DEALT:
                heap.writelines(hand)
                hand.clear()
        progress(imported)
    for hand, heap in zip(hands, heaps, strict=True):
        heap.writelines(hand)


def _blocks(file: IO[str]) -> Iterator[list[str]]:
    """The lines of a file, many at a time; of one that is longer than any address, its end."""
    rest = ""
    while block := file.read(_BLOCK):
        lines = (rest + block).split("\n")
        rest = lines.pop()[-_LONGEST_LINE:]
        yield lines
    if rest:
        yield [rest]


def _heap(file: IO[str], place: int) -> list[str]:
    """One heap, each entry once, in the order of the keys. As texts of one width they sort like
    numbers; negative ones, in the first half of the heaps, the other way round."""
    file.seek(0)
    return sorted(set(file.read().splitlines()), reverse=place < (1 << _HEAP_BITS) // 2)


def _write(database: Database, purpose: Purpose, rows: list[str], *, few: bool) -> int:
    """One group; how many were new or changed."""
    values = (
        purpose.tenant,
        Reason.MANUAL.value,
        purpose.channel,
        to_bits(purpose.categories),
        purpose.source,
        time.time(),
        f"{{{','.join(rows)}}}",
    )
    with database.transaction():
        if few:
            touch(database, SECTION)
        sql = _SQLITE if isinstance(database, SqliteDatabase) else _POSTGRES
        count = database.execute(sql, values).rowcount
        if few:
            keys = [unstored(int(row.split('"', 2)[1])) for row in rows]
            note_changes(database, purpose.tenant, keys)
    return count
