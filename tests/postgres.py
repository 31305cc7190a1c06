"""A real PostgreSQL server for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.postgres import PASSWORD, PostgresServer
from infra.local.postgres import postgres_server as running_server

__all__ = ["PASSWORD", "PostgresServer", "postgres", "postgres_server", "where"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole run, started for the first test that wants it."""
    with running_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> str:
    """The address of an empty schema."""
    return postgres_server.url(schema=postgres_server.new_schema())


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return tmp_path / "test.db"
    address: str = request.getfixturevalue("postgres")
    return address
