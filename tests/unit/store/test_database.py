"""Group commit and migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.store.database import GroupCommit, connect, migrate

INSERT = "INSERT INTO notes (text) VALUES (?)"


def notes(path: Path) -> list[str]:
    """What another connection sees."""
    connection = connect(path)
    found = [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]
    connection.close()
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "notes.db"
    connection = connect(path)
    connection.execute("CREATE TABLE notes (text TEXT UNIQUE NOT NULL)")
    connection.close()
    return path


async def test_what_is_written_is_there_when_write_returns(database: Path):
    writer = GroupCommit(connect(database))
    assert await writer.write(INSERT, ("a",)) == 1
    assert notes(database) == ["a"]
    await writer.close()


async def test_writes_of_a_group_keep_their_order_and_counts(database: Path):
    writer = GroupCommit(connect(database))
    texts = [str(n) for n in range(200)]
    counts = await asyncio.gather(*(writer.write(INSERT, (text,)) for text in texts))
    deleted = await writer.write("DELETE FROM notes WHERE text < '2'", ())
    await writer.close()
    assert counts == [1] * 200
    assert notes(database) == [text for text in texts if text >= "2"]
    assert deleted == sum(text < "2" for text in texts)


async def test_a_failing_statement_fails_its_group_and_no_other(database: Path):
    writer = GroupCommit(connect(database))
    await writer.write(INSERT, ("before",))
    group = ["one", "before", "two"]
    results = await asyncio.gather(
        *(writer.write(INSERT, (text,)) for text in group), return_exceptions=True
    )
    assert all(isinstance(result, sqlite3.IntegrityError) for result in results)
    assert notes(database) == ["before"]
    await writer.write(INSERT, ("after",))
    assert notes(database) == ["before", "after"]
    await writer.close()


async def test_a_writer_who_gives_up_does_not_stop_the_others(database: Path):
    writer = GroupCommit(connect(database))
    given_up = writer.write(INSERT, ("given up",))
    patient = writer.write(INSERT, ("patient",))
    given_up.cancel()
    await patient
    await writer.close()
    assert "patient" in notes(database)


async def test_close_writes_what_is_queued(database: Path):
    writer = GroupCommit(connect(database), linger=0.05)
    queued = [writer.write(INSERT, (str(n),)) for n in range(10)]
    await writer.close()
    assert all(write.done() for write in queued)
    assert len(notes(database)) == 10


async def test_a_read_sees_the_groups_before_it(database: Path):
    writer = GroupCommit(connect(database))
    await writer.write(INSERT, ("a",))
    found = await writer.read(lambda c: c.execute("SELECT count(*) FROM notes").fetchone()[0])
    await writer.close()
    assert found == 1


async def test_a_database_that_is_locked_for_a_moment_is_waited_for(database: Path):
    writer = GroupCommit(connect(database))
    other = connect(database)
    other.execute("BEGIN IMMEDIATE")
    written = writer.write(INSERT, ("patient",))
    done, _ = await asyncio.wait([written], timeout=0.1)
    assert not done
    other.execute("COMMIT")
    assert await written == 1
    other.close()
    await writer.close()


def test_several_processes_migrate_at_once(tmp_path: Path):
    path = tmp_path / "hermes.db"
    script = (
        "import sys; from pathlib import Path; from adapters.store.database import *;"
        "sys.stdin.readline(); migrate(connect(Path(sys.argv[1])), 'hermes')"
    )
    command = [sys.executable, "-c", script, str(path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=30)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    connection = connect(path)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert {"tenants", "api_keys", "messages"} <= tables


def test_a_newer_database_keeps_its_version(tmp_path: Path):
    """After a step back to an older release, the newer one must not migrate a second time."""
    path = tmp_path / "hermes.db"
    connection = connect(path)
    migrate(connection, "hermes")
    connection.execute("PRAGMA user_version = 99")
    migrate(connection, "hermes")
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path):
    connection = connect(tmp_path / "hermes.db")
    connection.execute("CREATE TABLE late_receipts (x)")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "hermes")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    assert tables == ["late_receipts"]
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()
