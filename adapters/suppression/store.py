"""The lists in the database: who is put on one, who is taken off, and what a tenant may see."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.store.audit import note
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.sqlite import SqliteDatabase
from adapters.suppression.hashing import Hasher, entry_id, stored, unstored
from domain.message import Category
from domain.suppression import RULES, Reason, canonical, from_bits, masked, packed, to_bits

SECTION: Final = "suppressions"

WIDENED: Final = (
    " ON CONFLICT (tenant, key, reason) DO UPDATE"
    " SET categories = (suppressions.categories | excluded.categories)"
    " WHERE (suppressions.categories | excluded.categories) <> suppressions.categories"
)
"""What becomes of an entry that is put on a list again: it blocks what it blocked, and more. An
entry is narrowed by nobody but who takes it off first."""
_PUT: Final = (
    "INSERT INTO suppressions (tenant, key, reason, channel, categories, masked, source,"
    f" imported, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?){WIDENED}"
)
_NEVER: Final = datetime.fromtimestamp(0, UTC)
_COLUMNS: Final = "key, reason, channel, categories, masked, source, imported, created_at"
_CHANGED: Final = (
    "INSERT INTO suppression_changes (number, key, held, changed_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (number, key) DO UPDATE SET held = excluded.held"
)
# The keys first: each is looked up by the table's primary key.
_HELD_BY_EACH: Final = (
    "SELECT s.key, s.reason, s.categories FROM json_each(?) AS each"
    " CROSS JOIN suppressions AS s ON s.key = each.value AND s.tenant = ?"
    " ORDER BY s.key, s.reason"
)
_HELD_BY_EACH_POSTGRES: Final = (
    "SELECT s.key, s.reason, s.categories"
    " FROM json_array_elements_text(CAST(? AS JSON)) AS each (value)"
    " JOIN suppressions AS s ON s.key = CAST(each.value AS BIGINT) AND s.tenant = ?"
    " ORDER BY s.key, s.reason"
)


class WrongKey(Exception):
    """The lists were made with another secret: nobody on them would be recognised."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One address on a list, for one reason. `source` says where that came from: an import's id,
    a message's, a number that the person wrote to; empty for none."""

    key: int
    reason: Reason
    channel: str
    categories: frozenset[Category]
    masked: str
    source: str = ""
    imported: bool = False
    created_at: datetime = _NEVER

    @property
    def id(self) -> str:
        """As clients see it: the same for all reasons of an address."""
        return entry_id(self.key)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended."""

    created_at: float
    key: int
    reason: Reason


class SuppressionStore:
    """Changes the lists and reads them. Methods block, for some milliseconds: call them in a
    thread. Each change is one transaction, and in use everywhere within a second."""

    def __init__(self, where: Path | str, hasher: Hasher) -> None:
        self._where = where
        self.hasher = hasher

    def entry(
        self,
        tenant: str,
        channel: str,
        address: str,
        reason: Reason,
        categories: Iterable[Category] | None = None,
        source: str = "",
    ) -> Entry:
        """What would stand on a tenant's list. Raises AddressProblem."""
        plain = canonical(channel, address)
        return Entry(
            self.hasher.key(tenant, channel, plain),
            reason,
            channel,
            RULES[reason].categories if categories is None else frozenset(categories),
            masked(channel, plain),
            source,
        )

    def put(self, tenant: str, entries: Sequence[Entry], *, actor: str | None = None) -> list[bool]:
        """Put addresses on a list; which of them are new or block more than before: never less.
        With an `actor` it is noted in the audit log: what happens by itself, or by the person's
        own wish, is not."""
        # Milliseconds survive every form of a time unchanged: a page ends at one.
        now = round(time.time(), 3)
        with change(self._where, SECTION) as database:
            new = [
                database.execute(
                    _PUT,
                    (
                        tenant,
                        stored(entry.key),
                        entry.reason.value,
                        entry.channel,
                        to_bits(entry.categories),
                        entry.masked,
                        entry.source,
                        now,
                    ),
                ).rowcount
                > 0
                for entry in entries
            ]
            for entry, is_new in zip(entries, new, strict=True):
                if is_new:
                    note_change(database, tenant, entry.key)
                    if actor is not None:
                        detail = {"reason": entry.reason.value, "channel": entry.channel}
                        note(database, actor, tenant, "suppression.add", entry.id, detail)
        return new

    def lift(
        self,
        tenant: str,
        key: int,
        reasons: Iterable[Reason] | None = None,
        *,
        actor: str | None = None,
    ) -> list[Reason]:
        """Take an address off a list, for these reasons or all of them; for which it was there."""
        with change(self._where, SECTION) as database:
            wanted = None if reasons is None else set(reasons)
            lifted = [
                entry.reason
                for entry in _held(database, tenant, key)
                if wanted is None or entry.reason in wanted
            ]
            for reason in lifted:
                database.execute(
                    "DELETE FROM suppressions WHERE tenant = ? AND key = ? AND reason = ?",
                    (tenant, stored(key), reason.value),
                )
            if lifted:
                note_change(database, tenant, key)
                if actor is not None:
                    detail = {"reasons": [reason.value for reason in lifted]}
                    note(database, actor, tenant, "suppression.remove", entry_id(key), detail)
        return lifted

    def forget(self, tenant: str, channel: str, address: str) -> int:
        """Remove what an entry shows of an address; the entry stays, by its hash alone, for the
        person must not be written to again. How many there were. Raises AddressProblem."""
        key = self.hasher.key(tenant, channel, canonical(channel, address))
        with change(self._where) as database:
            return database.execute(
                "UPDATE suppressions SET masked = '', source = '' WHERE tenant = ? AND key = ?",
                (tenant, stored(key)),
            ).rowcount

    def held(self, tenant: str, key: int) -> list[Entry]:
        """What stands on a list about an address."""
        with looking(self._where) as database:
            return _held(database, tenant, key)

    def page(self, tenant: str, limit: int, before: Position | None = None) -> list[Entry]:
        """A tenant's list, newest first, without what was imported."""
        older = "" if before is None else " AND (created_at, key, reason) < (?, ?, ?)"
        place = (
            () if before is None else (before.created_at, stored(before.key), before.reason.value)
        )
        with looking(self._where) as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM suppressions WHERE tenant = ? AND imported = 0{older}"
                " ORDER BY created_at DESC, key DESC, reason DESC LIMIT ?",
                (tenant, *place, limit),
            ).fetchall()
        return [_entry(row) for row in rows]


def open_lists(database: Database, hasher: Hasher) -> str:
    """The id of a database's lists, made when first asked for. Raises WrongKey."""
    row = _state(database)
    if row is None:
        with database.transaction():
            database.execute(
                "INSERT INTO suppression_state (id, list, key_check, rebuilt) VALUES (1, ?, ?, 0)"
                " ON CONFLICT (id) DO NOTHING",
                (secrets.token_hex(16), hasher.check),
            )
        row = _state(database)
    assert row is not None
    if bytes(row[1]) != hasher.check:
        raise WrongKey
    return str(row[0])


def version(database: Database) -> int:
    """The version of the lists, 0 before the first change."""
    row = database.execute("SELECT version FROM sections WHERE name = ?", (SECTION,)).fetchone()
    return 0 if row is None else int(row[0])


def note_change(database: Database, tenant: str, key: int) -> None:
    """Tell every process what is held against a key now; in the transaction of the change, which
    has touched the section."""
    held = bytes(
        packed(entry.reason, to_bits(entry.categories)) for entry in _held(database, tenant, key)
    )
    database.execute(_CHANGED, (version(database), stored(key), held, time.time()))


def note_changes(database: Database, tenant: str, keys: Sequence[int]) -> None:
    """`note_change` of many keys, which reads them in one statement."""
    numbers = [stored(key) for key in keys]
    held: dict[int, list[int]] = {number: [] for number in numbers}
    of_each = _HELD_BY_EACH if isinstance(database, SqliteDatabase) else _HELD_BY_EACH_POSTGRES
    rows = database.execute(of_each, (f"[{','.join(map(str, numbers))}]", tenant))
    for number, reason, categories in rows:
        held[number].append(packed(Reason(reason), categories))
    at, now = version(database), time.time()
    for number in numbers:
        database.execute(_CHANGED, (at, number, bytes(held[number]), now))


def _state(database: Database) -> tuple[str, bytes] | None:
    row: tuple[str, bytes] | None = database.execute(
        "SELECT list, key_check FROM suppression_state WHERE id = 1"
    ).fetchone()
    return row


def _held(database: Database, tenant: str, key: int) -> list[Entry]:
    rows = database.execute(
        f"SELECT {_COLUMNS} FROM suppressions WHERE tenant = ? AND key = ? ORDER BY reason",
        (tenant, stored(key)),
    ).fetchall()
    return [_entry(row) for row in rows]


def _entry(row: tuple[int, str, str, int, str, str, int, float]) -> Entry:
    key, reason, channel, categories, shown, source, imported, created_at = row
    return Entry(
        unstored(key),
        Reason(reason),
        channel,
        from_bits(categories),
        shown,
        source,
        bool(imported),
        datetime.fromtimestamp(created_at, UTC),
    )
