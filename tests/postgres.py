"""A real PostgreSQL server for the tests, and schemas there that are ready for use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from adapters.store.schema import open_store
from infra.local.postgres import PASSWORD, PostgresServer
from infra.local.postgres import postgres_server as running_server
from tests.waiting import until

__all__ = ["PASSWORD", "PostgresServer", "postgres", "postgres_schemas", "postgres_server"]

# What they forgo is to outlive the machine. A crash of the server itself loses nothing all the
# same: the operating system has what was written.
_NOT_FOR_EVER = {"fsync": "off", "full_page_writes": "off"}
_SCHEMAS = ("hermes", "smpp")

_RELATIONS = """
    SELECT relname AS name, relkind AS kind, relnatts AS columns, relchecks AS checks,
           relhastriggers AS triggers,
           CASE WHEN relkind = 'r' THEN pg_relation_size(oid) ELSE 0 END AS size
      FROM pg_class WHERE relnamespace = %s::regnamespace ORDER BY relname
"""
_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND backend_start > %s AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class _Schema:
    name: str
    shape: tuple[Any, ...]
    """Its relations, as the migrations make them."""
    given: dict[str, list[tuple[Any, ...]]]
    """The rows that the migrations put there."""


class ReadySchemas:
    """Schemas with Hermes's tables and no rows of anybody, each lent to one test after the other.

    A new one costs the server and us a quarter of a second of CPU, and a swept one a hundredth.
    One that was left with other tables, or while somebody still has a connection, is not lent
    again.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[_Schema] = []
        self._connection = psycopg.connect(server.url(), autocommit=True)

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The address of one."""
        schema = self._free.pop() if self._free else self._made()
        [since] = self._connected().execute("SELECT clock_timestamp()").fetchone() or [None]
        yield self._server.url(schema=schema.name)
        connection = self._connected()
        if _left(connection, since) and self._sweep(connection, schema):
            self._free.append(schema)

    def _made(self) -> _Schema:
        name = self._server.new_schema()
        for each in _SCHEMAS:
            open_store(self._server.url(schema=name), each).close()
        connection = self._connected()
        relations = _relations(connection, name)
        given = {
            table: connection.execute(f'SELECT * FROM {name}."{table}"').fetchall()
            for table in _with_rows(relations)
        }
        return _Schema(name, _shape(relations), given)

    def _sweep(self, connection: psycopg.Connection[Any], schema: _Schema) -> bool:
        """Make it as it was; False if its tables are others now."""
        relations = _relations(connection, schema.name)
        if _shape(relations) != schema.shape:
            return False
        tables = {table: f'{schema.name}."{table}"' for table in _with_rows(relations)}
        for table, rows in schema.given.items():
            if connection.execute(f"SELECT * FROM {tables[table]}").fetchall() == rows:
                del tables[table]
        if tables:
            connection.execute(f"TRUNCATE {', '.join(tables.values())} CASCADE")
        for table in schema.given.keys() & tables.keys():
            for row in schema.given[table]:
                places = ", ".join(["%s"] * len(row))
                connection.execute(f"INSERT INTO {tables[table]} VALUES ({places})", row)
        return True

    def _connected(self) -> psycopg.Connection[Any]:
        """A connection that works: a test may have ended the one before, or the server."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._connection = psycopg.connect(self._server.url(), autocommit=True)
        return self._connection

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _relations(connection: psycopg.Connection[Any], name: str) -> list[Any]:
    return connection.cursor(row_factory=namedtuple_row).execute(_RELATIONS, (name,)).fetchall()


def _shape(relations: list[Any]) -> tuple[Any, ...]:
    return tuple((r.name, r.kind, r.columns, r.checks, r.triggers) for r in relations)


def _with_rows(relations: list[Any]) -> list[str]:
    return [relation.name for relation in relations if relation.size]


def _left(connection: psycopg.Connection[Any], since: Any) -> bool:
    """Whether all who came since then are gone. The server takes a moment to see that one is."""

    def gone() -> bool:
        return connection.execute(_SESSIONS, (since,)).fetchone() == (0,)

    try:
        return until(gone, within=0.2, pause=0.005)
    except AssertionError:
        return False


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole run, started for the first test that wants it."""
    with running_server(**_NOT_FOR_EVER) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_schemas(postgres_server: PostgresServer) -> Iterator[ReadySchemas]:
    """Where `postgres` has its schemas from."""
    schemas = ReadySchemas(postgres_server)
    yield schemas
    schemas.close()


@pytest.fixture
def postgres(postgres_schemas: ReadySchemas) -> Iterator[str]:
    """The address of a schema with every table, up to date, and with nothing in them."""
    with postgres_schemas.lend() as address:
        yield address
