"""SQLite as Hermes uses it: write-ahead log, full fsync."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.store.bulk import Uncertain, combined, row_counts
from adapters.store.database import Statement, nothing

_PATIENCE = 10.0
"""Seconds that a process waits for another's transaction."""
_CACHED_STATEMENTS = 256


class SqliteDatabase(sqlite3.Connection):
    """A connection to one file."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction, from its first statement on."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back by itself.
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise

    def commit_group(
        self, statements: Sequence[Statement], then: Callable[[], None] = nothing
    ) -> list[int]:
        """Run statements in order, and `then` after them, in one transaction; row counts."""
        try:
            with self.transaction():
                counts = row_counts(
                    (
                        (self.execute(sql, parameters).rowcount, places)
                        for sql, parameters, places in combined(statements)
                    ),
                    len(statements),
                )
                then()
                return counts
        except Uncertain:
            with self.transaction():
                counts = [self.execute(*statement).rowcount for statement in statements]
                then()
                return counts

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """In the write-ahead log no reader waits for a writer, nor the reverse."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("COMMIT")

    def changes(self) -> int | None:
        """The file's change counter, which is in memory that the processes share."""
        found: int = self.execute("PRAGMA data_version").fetchone()[0]
        return found

    def version(self, schema: str) -> int:
        """`PRAGMA user_version`: a file has one schema."""
        found: int = self.execute("PRAGMA user_version").fetchone()[0]
        return found

    def migrated(self, schema: str, number: int, ddl: str) -> None:
        """Run one statement of a migration, and note its number."""
        self.execute(ddl)
        self.execute(f"PRAGMA user_version = {number}")

    def hold(self, lock: int) -> None:
        """Nothing to do: the file has one process at a time."""

    def held(self, lock: int) -> bool:
        """Never: whoever held it has ended."""
        return False


def _use_write_ahead_log(database: SqliteDatabase) -> None:
    """Several processes may make the file at once, and for this one statement SQLite does not
    wait: whoever comes second is told that the database is locked."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def open_file(path: Path) -> SqliteDatabase:
    """Open a database file, made if missing and then for its owner only: recipients and secrets
    are in it. Every commit is on disk when it returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the files beside it (-wal, -shm) the permissions of this one.
    path.touch(mode=0o600)
    database = sqlite3.connect(
        path,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
        factory=SqliteDatabase,
    )
    _use_write_ahead_log(database)
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA busy_timeout=10000")
    return database
