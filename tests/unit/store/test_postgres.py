"""PostgreSQL: connections that are lost, groups in conflict, locks that show who lives."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from adapters.store.group_commit import GroupCommit
from adapters.store.postgres import PostgresDatabase
from tests.postgres import PASSWORD, PostgresServer
from tests.waiting import eventually, until

INSERT = "INSERT INTO notes (text) VALUES (?)"


class Proxy:
    """A TCP connection to the server that can be cut at a word of the client's."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_before: bytes | None = None
        self.cut_after: bytes | None = None
        self._closed = False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        # Wakes the thread that accepts.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._listener.close()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        try:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.cut_before and self.cut_before in data:
                        self.cut_before = None
                        return
                    other[source].sendall(data)
                    if source is client and self.cut_after and self.cut_after in data:
                        self.cut_after = None
                        # The server has answered, and nobody hears it.
                        server.recv(65536)
                        return
        except (OSError, ValueError):
            return
        finally:
            client.close()
            server.close()


@pytest.fixture
def schema(postgres_server: PostgresServer) -> str:
    name = postgres_server.new_schema()
    database = PostgresDatabase(postgres_server.url(schema=name))
    database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL)")
    database.close()
    return name


@pytest.fixture
def address(postgres_server: PostgresServer, schema: str) -> str:
    return postgres_server.url(schema=schema)


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    proxy = Proxy(postgres_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def notes(address: str) -> Iterator[Callable[[], list[str]]]:
    """What another connection sees."""
    with psycopg.connect(address, autocommit=True) as connection:
        yield lambda: [t for (t,) in connection.execute("SELECT text FROM notes ORDER BY id")]


def end_sessions(address: str) -> None:
    """End every session but the one that asks, as a restart would."""
    with psycopg.connect(address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'hermes' AND pid <> pg_backend_pid()"
        )


async def test_a_connection_lost_between_groups_costs_nothing(address, notes):
    writer = GroupCommit(PostgresDatabase(address))
    await writer.write(INSERT, ("before",))
    end_sessions(address)
    assert await writer.write(INSERT, ("after",)) == 1
    end_sessions(address)
    read = await writer.read(lambda c: c.execute("SELECT count(*) FROM notes").fetchone())
    await writer.close()
    assert read == (2,)
    assert notes() == ["before", "after"]


async def test_a_connection_lost_before_the_commit_is_sent_leaves_it_to_the_next(
    postgres_server, schema, proxy, notes
):
    writer = GroupCommit(PostgresDatabase(postgres_server.url(proxy.port, schema)))
    proxy.cut_before = b"INSERT"
    counts = await asyncio.gather(*(writer.write(INSERT, (text,)) for text in "abc"))
    await writer.close()
    assert counts == [1, 1, 1]
    assert notes() == ["a", "b", "c"]


async def test_a_commit_whose_answer_is_lost_is_found_again(postgres_server, schema, proxy, notes):
    writer = GroupCommit(PostgresDatabase(postgres_server.url(proxy.port, schema)))
    once = f"{INSERT} ON CONFLICT (text) DO NOTHING"
    await writer.write(once, ("a",))
    proxy.cut_after = b"COMMIT"
    counts = await asyncio.gather(*(writer.write(once, (text,)) for text in "abc"))
    await writer.close()
    assert counts == [0, 1, 1]
    assert notes() == ["a", "b", "c"]


async def test_a_commit_that_never_arrived_fails_its_whole_group(
    postgres_server, schema, proxy, notes
):
    writer = GroupCommit(PostgresDatabase(postgres_server.url(proxy.port, schema)))
    proxy.cut_before = b"COMMIT"
    results = await asyncio.gather(
        *(writer.write(INSERT, (text,)) for text in "abc"), return_exceptions=True
    )
    assert all(isinstance(result, psycopg.OperationalError) for result in results)
    assert notes() == []
    assert await writer.write(INSERT, ("next",)) == 1
    await writer.close()
    assert notes() == ["next"]


async def test_a_server_that_is_away_fails_writers_at_once_and_is_found_again(
    postgres_server, address
):
    writer = GroupCommit(PostgresDatabase(address))
    await writer.write(INSERT, ("before",))
    postgres_server.stop(signal.SIGQUIT)
    try:
        for text in ("during", "also during"):
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(writer.write(INSERT, (text,)), 5)
    finally:
        postgres_server.start()

    async def written() -> bool:
        try:
            return await writer.write(INSERT, ("after",)) == 1
        except psycopg.OperationalError:
            return False

    await eventually(written)
    found = await writer.read(lambda c: c.execute("SELECT text FROM notes ORDER BY id").fetchall())
    await writer.close()
    assert found == [("before",), ("after",)]


async def test_groups_that_block_each_other_are_both_written(address, notes):
    """Each has what the other wants next: PostgreSQL ends one, and it is tried again."""
    once = f"{INSERT} ON CONFLICT (text) DO NOTHING"
    slow = "INSERT INTO notes (text) SELECT ? WHERE pg_sleep(0.2) IS NOT NULL"
    writers = [GroupCommit(PostgresDatabase(address)) for _ in range(2)]
    counts = await asyncio.gather(
        *(
            asyncio.gather(
                writer.write(once, (first,)),
                writer.write(slow, (f"slow {first}",)),
                writer.write(once, (second,)),
            )
            for writer, first, second in zip(writers, "ab", "ba", strict=True)
        )
    )
    for writer in writers:
        await writer.close()
    assert sorted(notes()) == ["a", "b", "slow a", "slow b"]
    assert sum(map(sum, counts)) == 4


def test_a_lock_is_held_until_its_process_ends(address):
    holder, other = PostgresDatabase(address), PostgresDatabase(address)
    holder.hold(7)
    assert other.held(7)
    assert not other.held(8)
    end_sessions(address)
    # Its holder takes it again with its next connection.
    holder.execute("SELECT 1")
    assert other.held(7)
    holder.close()
    until(lambda: not other.held(7))
    other.close()


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://hermes:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://hermes:{PASSWORD}@127.0.0.1:port/db",
        f"postgresql://hermes:{PASSWORD}@127.0.0.1/db?no_such_option=1",
    ],
)
def test_the_password_is_in_no_message(address: str, caplog: pytest.LogCaptureFixture):
    with pytest.raises((psycopg.OperationalError, ValueError)) as raised:
        PostgresDatabase(address)
    assert PASSWORD not in str(raised.value) + caplog.text
