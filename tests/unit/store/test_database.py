"""Group commit and migrations, on each database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.store import schema
from adapters.store.database import connect, is_postgres
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import migrate

INSERT = "INSERT INTO notes (text) VALUES (?)"


def notes(where: Path | str) -> list[str]:
    """What another connection sees, in the order of writing."""
    connection = connect(where)
    found = [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]
    connection.close()
    return found


def tables(where: Path | str) -> set[str]:
    connection = connect(where)
    listed = (
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        if is_postgres(where)
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    found = {name for (name,) in connection.execute(listed)}
    connection.close()
    return found


@pytest.fixture
def where(new_where: Path | str) -> Path | str:
    return new_where


@pytest.fixture
def database(where: Path | str) -> Path | str:
    connection = connect(where)
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL)")
    connection.close()
    return where


async def test_what_is_written_is_there_when_write_returns(database: Path | str):
    writer = GroupCommit(connect(database))
    assert await writer.write(INSERT, ("a",)) == 1
    assert notes(database) == ["a"]
    await writer.close()


async def test_writes_of_a_group_keep_their_order_and_counts(database: Path | str):
    writer = GroupCommit(connect(database))
    texts = [str(n) for n in range(200)]
    counts = await asyncio.gather(
        *(writer.write(INSERT, (text,)) for text in texts),
        writer.write("DELETE FROM notes WHERE text < '2'", ()),
        writer.write(INSERT, ("1",)),
    )
    await writer.close()
    assert counts == [1] * 200 + [sum(text < "2" for text in texts), 1]
    assert notes(database) == [*(text for text in texts if text >= "2"), "1"]


@pytest.mark.parametrize(
    ("existing", "group", "counts"),
    [
        (["b"], ["a", "b", "c"], [1, 0, 1]),
        ([], ["a", "b", "a"], [1, 1, 0]),
        (["a", "b"], ["a", "b"], [0, 0]),
    ],
)
async def test_each_write_of_a_group_knows_whether_it_was_the_first(
    database: Path | str, existing: list[str], group: list[str], counts: list[int]
):
    writer = GroupCommit(connect(database))
    for text in existing:
        await writer.write(INSERT, (text,))
    once = f"{INSERT} ON CONFLICT (text) DO NOTHING"
    assert await asyncio.gather(*(writer.write(once, (text,)) for text in group)) == counts
    await writer.close()
    assert sorted(notes(database)) == sorted({*existing, *group})


async def test_the_last_of_a_groups_changes_of_one_row_counts(database: Path | str):
    writer = GroupCommit(connect(database))
    change = (
        "INSERT INTO notes (id, text) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET text = excluded.text"
    )
    changes = [(1, "a"), (2, "b"), (1, "c"), (2, "d"), (1, "e")]
    counts = await asyncio.gather(*(writer.write(change, values) for values in changes))
    await writer.close()
    assert counts == [1] * 5
    assert notes(database) == ["e", "d"]


async def test_a_failing_statement_fails_its_group_and_no_other(database: Path | str):
    writer = GroupCommit(connect(database))
    await writer.write(INSERT, ("before",))
    group = ["one", "before", "two"]
    results = await asyncio.gather(
        *(writer.write(INSERT, (text,)) for text in group), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] in (
        ["IntegrityError"] * 3,
        ["UniqueViolation"] * 3,
    )
    assert notes(database) == ["before"]
    await writer.write(INSERT, ("after",))
    assert notes(database) == ["before", "after"]
    await writer.close()


async def test_a_writer_who_gives_up_does_not_stop_the_others(database: Path | str):
    writer = GroupCommit(connect(database))
    given_up = writer.write(INSERT, ("given up",))
    patient = writer.write(INSERT, ("patient",))
    given_up.cancel()
    await patient
    await writer.close()
    assert "patient" in notes(database)


async def test_a_note_is_written_with_the_others(database: Path | str):
    writer = GroupCommit(connect(database))
    writer.note(INSERT, ("noted",))
    assert await writer.write(INSERT, ("written",)) == 1
    assert notes(database) == ["noted", "written"]
    await writer.close()


async def test_a_note_that_fails_is_logged(database: Path | str, caplog: pytest.LogCaptureFixture):
    writer = GroupCommit(connect(database))
    writer.note("INSERT INTO nowhere (text) VALUES (?)", ("lost",))
    await writer.close()
    assert "nowhere" in caplog.text


async def test_close_writes_what_is_queued(database: Path | str):
    writer = GroupCommit(connect(database), linger=0.05)
    queued = [writer.write(INSERT, (str(n),)) for n in range(10)]
    await writer.close()
    assert all(write.done() for write in queued)
    assert len(notes(database)) == 10


async def test_a_read_sees_the_groups_before_it(database: Path | str):
    writer = GroupCommit(connect(database))
    await writer.write(INSERT, ("a",))
    found = await writer.read(lambda c: c.execute("SELECT count(*) FROM notes").fetchone()[0])
    await writer.close()
    assert found == 1


async def test_a_database_that_is_locked_for_a_moment_is_waited_for(database: Path | str):
    writer = GroupCommit(connect(database))
    other = connect(database)
    with other.transaction():
        other.execute(INSERT, ("impatient",))
        written = writer.write(INSERT, ("patient",))
        if is_postgres(database):
            # There, only the same row is waited for.
            written = writer.write(f"{INSERT} ON CONFLICT (text) DO NOTHING", ("impatient",))
        done, _ = await asyncio.wait([written], timeout=0.1)
        assert not done
    assert await written == (0 if is_postgres(database) else 1)
    other.close()
    await writer.close()
    assert "patient" in notes(database)


def test_several_processes_migrate_at_once(where: Path | str):
    script = (
        "import sys; from adapters.store.schema import open_store;"
        "sys.stdin.readline(); open_store(sys.argv[1], 'smpp').close()"
    )
    command = [sys.executable, "-c", script, str(where)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert {"parts", "receipts", "carriers", "inbound"} <= tables(where)


def test_a_newer_database_keeps_its_version(where: Path | str):
    """After a step back to an older release, the newer one must not migrate a second time."""
    connection = connect(where)
    migrate(connection, "hermes")
    with connection.transaction():
        connection.migrated("hermes", 99, "CREATE TABLE of_the_future (x INTEGER)")
    migrate(connection, "hermes")
    with connection.transaction():
        assert connection.version("hermes") == 99
    connection.close()


def test_a_migration_that_fails_leaves_nothing(
    where: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_1.sql").write_text("CREATE TABLE first (x REAL);\n\nno such statement;\n")
    monkeypatch.setattr(schema, "_MIGRATIONS", tmp_path)
    connection = connect(where)
    with pytest.raises(Exception, match="syntax"):
        migrate(connection, "broken")
    with connection.transaction():
        assert connection.version("broken") == 0
    connection.close()
    assert "first" not in tables(where)
