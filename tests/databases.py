"""A database for a test, of each kind: SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapters.store.schema import open_store
from tests.postgres import PostgresServer

KINDS = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def sqlite_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every table of the store, up to date, and with nothing in them: to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "hermes.db"
    open_store(path, "hermes").close()
    return path


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A store of each kind, up to date and with nothing in it: as a process finds it that was
    started before."""
    if request.param == "sqlite":
        made: Path = request.getfixturevalue("sqlite_made")
        return Path(shutil.copy(made, tmp_path / "test.db"))
    address: str = request.getfixturevalue("postgres")
    return address


@pytest.fixture(params=KINDS)
def new_where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A database of each kind that has no tables yet: as the first process finds it."""
    if request.param == "sqlite":
        return tmp_path / "test.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(schema=server.new_schema())


@pytest.fixture(params=KINDS)
def journal_where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a bind pool may have its journal: a file that is not there yet, as a file has one
    schema only, or a schema with every table."""
    if request.param == "sqlite":
        return tmp_path / "test.db"
    address: str = request.getfixturevalue("postgres")
    return address
