"""What the stores ask of a database, and which one an address means."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Statement = tuple[str, Sequence[Any]]
"""SQL with `?` for each value, and the values."""


def nothing() -> None:
    """What there is to do after a group that is only statements."""


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that were written."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """One connection to one database, for one thread at a time.

    SQL is written once, for SQLite and PostgreSQL: `?` for a value, INTEGER for whole numbers of
    up to 64 bits, CAST(? AS INTEGER) where nothing else tells a value's type (in VALUES outside of
    INSERT, in SELECT), and no two statements that differ only in a value.
    """

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Run one statement; outside of a transaction it commits by itself."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commits on leaving, and rolls back if an exception leaves. Commits are on disk when
        they return."""

    def commit_group(
        self, statements: Sequence[Statement], then: Callable[[], None] = nothing
    ) -> list[int]:
        """Run statements in order, and `then` after them, in one transaction; the row count of
        each statement. Raises, and nothing of the group is written, if one of them fails. A group
        that met another process's may be tried again, and `then` with it."""

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read within is of one moment. It holds no writer up."""

    def changes(self) -> int | None:
        """A number that is another one after each commit by others, where that costs nothing to
        ask; None where it does."""

    def version(self, schema: str) -> int:
        """The number of a schema's last migration, within a transaction; 0 for none. Until that
        ends, other processes that ask wait."""

    def migrated(self, schema: str, number: int, ddl: str) -> None:
        """Run one statement of a migration, and note its number."""

    def hold(self, lock: int) -> None:
        """Show, as long as this process lives and reaches the database, that `lock` is held."""

    def held(self, lock: int) -> bool:
        """Whether a process that lives holds it. Of a database that only one process may use at a
        time nobody else does."""

    def close(self) -> None:
        """End the connection."""


def connect(where: Path | str) -> Database:
    """Open a file with SQLite, or `postgresql://user:password@host/database` with PostgreSQL."""
    if is_postgres(where):
        # psycopg takes 60 ms to import, which a command that needs none of it should not wait for.
        from adapters.store.postgres import PostgresDatabase

        return PostgresDatabase(str(where))
    from adapters.store.sqlite import open_file

    return open_file(Path(where))


def is_away(error: BaseException) -> bool:
    """Whether this says that a database could not be reached: repeating may help."""
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(error, psycopg.OperationalError)


def is_postgres(where: Path | str) -> bool:
    """Whether an address is a PostgreSQL server's."""
    return isinstance(where, str) and where.startswith(("postgresql://", "postgres://"))


def check_address(where: str) -> None:
    """Raises ValueError, which does not quote it, unless this is a PostgreSQL server's address."""
    if not is_postgres(where):
        raise ValueError("write it as postgresql://user:password@host/database")
    from adapters.store.postgres import parameters

    parameters(where)
