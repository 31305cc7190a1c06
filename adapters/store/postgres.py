"""PostgreSQL as Hermes uses it: one connection, prepared statements, a group in two round trips.

Commits are as durable as the server makes them: `fsync` and `synchronous_commit` have to be on
there, which is the default. The address is that of a server or of a pool of sessions; a pool of
transactions cannot keep prepared statements and locks.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from adapters.store.bulk import Combined, Uncertain, combined, row_counts
from adapters.store.database import Statement, nothing

logger = logging.getLogger(__name__)

_PARAMETERS: dict[str, Any] = {
    "application_name": "hermes",
    "connect_timeout": 5,
    # A server that is gone without a word is given up after some ten seconds.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SESSION = """
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;
    -- Every query here looks up a few rows by an index. A plan made while a table was small, and
    -- kept, must not read it from end to end once it has grown.
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off
"""
_PREPARED = 400
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_CONFLICTS = 5
"""Tries of a group that met another process's in a deadlock."""
_PATIENCE = 10.0
"""Seconds for finding out whether a commit, whose answer was lost, was made."""
_LOCKS, _MIGRATING = 0x48524D53, 0x48524D54
"""What tells our advisory locks from those of others in the same database."""


def parameters(url: str) -> dict[str, Any]:
    """What an address says, as libpq reads it. Raises ValueError, which does not quote it."""
    try:
        read = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # What libpq says of it may quote the password.
        raise ValueError("not a valid postgresql:// address") from None
    ports = str(read.get("port", "")).split(",")
    database = str(read.get("dbname", ""))
    if not all(port.isdigit() or not port for port in ports) or {"@", "/"} & set(database):
        # A password with a / in it was read as something else, which errors would show.
        raise ValueError(
            "not a valid postgresql:// address: in a password, write / as %2F, @ as %40 and so on"
        )
    if not (read.get("host") or read.get("hostaddr")):
        raise ValueError("write it as postgresql://user:password@host/database")
    return read


class PostgresDatabase:
    """A connection to one database, made anew when it is lost.

    While the server cannot be reached, what needs it raises psycopg.OperationalError; it is dialed
    again when something needs it, at once and then after 0.1 s doubling to 2 s.
    """

    def __init__(self, url: str) -> None:
        self._address = make_conninfo(**{**_PARAMETERS, **parameters(url)})
        self._locks: list[int] = []
        self._pause = 0.0
        self._next_try = 0.0
        self._connection = self._dial()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run one statement. A query that finds the connection lost is asked again on a new
        one."""
        connection = self._alive()
        outside = connection.info.transaction_status == TransactionStatus.IDLE
        try:
            return connection.execute(_translated(sql), parameters)
        except psycopg.OperationalError:
            if not (connection.closed and outside and sql.lstrip().startswith("SELECT")):
                raise
            return self._alive().execute(_translated(sql), parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction; it is rolled back with the connection if that is lost."""
        with self._alive().transaction():
            yield

    def commit_group(
        self, statements: Sequence[Statement], then: Callable[[], None] = nothing
    ) -> list[int]:
        """Run statements in order, and `then` after them, in one transaction; row counts.

        A group that certainly was not committed is tried again: once if the connection was lost, a
        few times if it met another process's group in a deadlock. If the answer to its commit was
        lost, the server is asked what became of it.
        """
        lost, conflicts = False, 0
        while True:
            connection = None
            try:
                connection = self._alive()
                try:
                    return self._commit(connection, combined(statements), len(statements), then)
                except (Uncertain, errors.CardinalityViolation):
                    one_by_one = ((sql, row, [n]) for n, (sql, row) in enumerate(statements))
                    return self._commit(connection, one_by_one, len(statements), then)
            except (errors.DeadlockDetected, errors.SerializationFailure):
                conflicts += 1
                if conflicts == _CONFLICTS:
                    raise
            except _CommitUnknown as unknown:
                if not self._was_committed(unknown.transaction):
                    raise psycopg.OperationalError("the connection was lost") from unknown
                return unknown.counts
            except psycopg.OperationalError:
                if lost or connection is None or not connection.closed:
                    raise
                lost = True

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A transaction that reads what was committed when it began."""
        with self.transaction():
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def changes(self) -> int | None:
        """None: it would take a question to the server."""
        return None

    def version(self, schema: str) -> int:
        """The table `schema_version` has a row for each schema."""
        self.execute(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
        self.execute(
            "CREATE TABLE IF NOT EXISTS schema_version"
            " (schema TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )
        row = self.execute(
            "SELECT version FROM schema_version WHERE schema = ?", (schema,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def migrated(self, schema: str, number: int, ddl: str) -> None:
        """Run one statement of a migration, and note its number."""
        self.execute(ddl)
        self.execute(
            "INSERT INTO schema_version (schema, version) VALUES (?, ?)"
            " ON CONFLICT (schema) DO UPDATE SET version = excluded.version",
            (schema, number),
        )

    def hold(self, lock: int) -> None:
        """Take an advisory lock, now and after each reconnection; the server drops it with the
        connection."""
        self._locks.append(lock)
        self._lock(self._alive(), lock)

    def held(self, lock: int) -> bool:
        """Whether some connection has taken the lock."""
        rows = self.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
            f" AND classid = {_LOCKS} AND objid = ? LIMIT 1",
            (lock,),
        )
        return rows.fetchone() is not None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _commit(
        self,
        connection: _Connection,
        statements: Iterable[Combined],
        size: int,
        then: Callable[[], None],
    ) -> list[int]:
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                number = connection.execute("SELECT pg_current_xact_id()::text", prepare=True)
                written = [
                    (connection.execute(_translated(sql), row, prepare=True), places)
                    for sql, row, places in statements
                ]
            counts = row_counts(((cursor.rowcount, places) for cursor, places in written), size)
            transaction = number.fetchone()
            assert transaction is not None
            then()
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        try:
            connection.execute("COMMIT")
        except psycopg.OperationalError as error:
            if connection.closed:
                raise _CommitUnknown(transaction[0], counts) from error
            raise
        return counts

    def _was_committed(self, transaction: str) -> bool:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            try:
                row = (
                    self._alive()
                    .execute("SELECT pg_xact_status($1::text::xid8)", (transaction,))
                    .fetchone()
                )
            except psycopg.OperationalError:
                row = ("in progress",)
            except psycopg.Error:
                # Another server, which knows nothing of it.
                return False
            if row is None or row[0] != "in progress":
                return row is not None and row[0] == "committed"
            time.sleep(_FIRST_PAUSE)
        return False

    def _alive(self) -> _Connection:
        """The connection, or a new one if it was lost."""
        if self._connection.closed:
            wait = self._next_try - time.monotonic()
            if wait > 0:
                raise psycopg.OperationalError(
                    f"PostgreSQL cannot be reached; the next try is in {wait:.1f} s"
                )
            self._connection = self._dial()
        return self._connection

    def _dial(self) -> _Connection:
        try:
            connection = psycopg.connect(
                self._address, autocommit=True, cursor_factory=psycopg.RawCursor
            )
            connection.adapters.register_dumper(int, _UntypedInt)
            connection.prepared_max = _PREPARED
            connection.execute(_SESSION)
            for lock in self._locks:
                self._lock(connection, lock)
        except psycopg.OperationalError as error:
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._next_try = time.monotonic() + self._pause
            logger.warning("PostgreSQL cannot be reached: %s", error)
            raise
        self._pause = self._next_try = 0.0
        return connection

    @staticmethod
    def _lock(connection: _Connection, lock: int) -> None:
        # Shared, since a session that the server has not yet given up may have it still.
        connection.execute(f"SELECT pg_advisory_lock_shared({_LOCKS}, $1)", (lock,))


_Connection = psycopg.Connection[tuple[Any, ...]]


class _CommitUnknown(Exception):
    """The connection was lost between COMMIT and its answer."""

    def __init__(self, transaction: str, counts: list[int]) -> None:
        super().__init__("the answer to a commit was lost")
        self.transaction = transaction
        self.counts = counts


class _UntypedInt(Dumper):
    """A number whose type the server infers, as it does for text and NULL. By default it depends
    on the value, and a statement would be prepared anew for each combination."""

    oid = 0

    def dump(self, obj: int) -> bytes:
        return b"%d" % obj


_PLACE = re.compile(r"\?")
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A text's octets. What PostgreSQL makes of the same cast is another thing: it reads escapes.
    (re.compile(r"\blength\(CAST\((\w+) AS BLOB\)\)"), r"octet_length(\1)"),
    (re.compile(r"\bWITHOUT ROWID\b"), ""),
    (re.compile(r"\bINTEGER PRIMARY KEY\b"), "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
)


@lru_cache(maxsize=1024)
def _translated(sql: str) -> str:
    """PostgreSQL's words for what is written in SQLite's."""
    for pattern, word in _WORDS:
        sql = pattern.sub(word, sql)
    number: Callable[[], int] = count(1).__next__
    return _PLACE.sub(lambda _: f"${number()}", sql)
