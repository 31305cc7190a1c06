"""Requests that share a few connections: who waits longest is next, and no turn is lost."""

import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

from adapters.restate.http import ConnectionGone, HttpClient
from tests.waiting import eventually


class Server:
    """Answers each request once it is told to, in any order."""

    def __init__(self):
        self.asked = {}
        self.order = []
        self.connections = self.open = 0
        self._writers = []

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def answer(self, path, *, close=False):
        """What is asked for now."""
        self.asked.pop(path).set_result(close)

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        self._writers.append(writer)
        try:
            await self._answer_all(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self.open -= 1

    async def _answer_all(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.order.append(path)
            self.asked[path] = asyncio.get_running_loop().create_future()
            close = await self.asked[path]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            if close:
                writer.close()
                return


@pytest.fixture
async def server():
    server = await Server().start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server):
    client = HttpClient(server.url, connections=1, timeout=30.0)
    yield client
    await client.close()


async def begun(client, server, *paths):
    """Requests, begun one after the other: the first is being served, the others wait."""
    tasks = []
    for path in paths:
        tasks.append(asyncio.ensure_future(client.request("GET", path)))
        await asyncio.sleep(0)
    await eventually(lambda: paths[0] in server.asked)
    return tasks


async def answered(server, *paths):
    """Each as it comes, in this order and no other."""
    for path in paths:
        await eventually(lambda: bool(server.asked))
        assert list(server.asked) == [path]
        server.answer(path)


def when_it_is_free(client, monkeypatch, *, before=lambda: None, after=lambda: None):
    """What happens once, at the moment at which the connection becomes free."""
    idle = client.idle

    def hooked(connection):
        monkeypatch.setattr(client, "idle", idle)
        before()
        idle(connection)
        after()

    monkeypatch.setattr(client, "idle", hooked)


async def test_who_waits_is_next_whoever_comes_meanwhile(client, server, monkeypatch):
    tasks = await begun(client, server, "/1", "/2", "/3")

    def come():
        """It runs before those who wait have heard of their turn."""
        tasks.append(asyncio.ensure_future(client.request("GET", "/late")))

    when_it_is_free(client, monkeypatch, before=come)
    await answered(server, "/1", "/2", "/3", "/late")
    await asyncio.gather(*tasks)
    assert server.connections == 1


async def test_a_turn_that_is_given_up_goes_to_the_next(client, server):
    tasks = await begun(client, server, "/1", "/2", "/3")
    tasks[1].cancel()
    await answered(server, "/1", "/3")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert server.order == ["/1", "/3"]


async def test_a_turn_that_is_given_up_as_it_comes_goes_to_the_next(client, server, monkeypatch):
    tasks = await begun(client, server, "/1", "/2", "/3")
    # It has been given the connection, and has not run since.
    when_it_is_free(client, monkeypatch, after=tasks[1].cancel)
    await answered(server, "/1", "/3")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[1].cancelled()


async def test_a_connection_that_closes_makes_room_for_another(client, server):
    tasks = await begun(client, server, "/1", "/2")
    server.answer("/1", close=True)
    await eventually(lambda: "/2" in server.asked or tasks[1].done())
    if tasks[1].done():
        # It was written before the end was heard of: nobody knows whether it was read.
        with pytest.raises(ConnectionGone):
            tasks[1].result()
    else:
        server.answer("/2")
        await tasks[1]
    third = asyncio.ensure_future(client.request("GET", "/3"))
    await answered(server, "/3")
    await third


class Held:
    """Something large that only a request's context has."""


async def test_a_connection_keeps_nothing_of_who_used_it_first(client, server, memory):
    held = await asked_by(client, server, "/1")
    assert held() is None


async def test_a_request_that_was_given_up_leaves_no_garbage(client, server, memory, monkeypatch):
    closed, gone = client.closed, []

    def hooked(connection=None):
        gone.append(weakref.ref(connection))
        closed(connection)

    monkeypatch.setattr(client, "closed", hooked)
    held = await asked_by(client, server, None)
    await eventually(lambda: bool(gone) and gone[0]() is None)
    assert held() is None


@pytest.fixture
def memory():
    """Freed at once, or not at all."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


_context = ContextVar("held")


async def asked_by(client, server, path):
    """Somebody who asks and is gone, and whom nobody remembers; without a path it is given up."""

    async def ask(held):
        _context.set(held)
        await client.request("GET", path or "/never")

    held = Held()
    request = asyncio.ensure_future(ask(held))
    reference = weakref.ref(held)
    del held
    await eventually(lambda: bool(server.asked))
    if path is None:
        request.cancel()
    else:
        server.answer(path)
    await asyncio.gather(request, return_exceptions=True)
    del request
    # The callbacks of this turn of the loop hold what they were given.
    await asyncio.sleep(0)
    return reference


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_request_given_up_while_it_connects_leaves_no_connection(
    client, server, monkeypatch, moment
):
    dial, requests = client._dial, []

    async def dialed(connection):
        """It is there, and who wanted it has not heard of that."""
        if moment == "before":
            requests[-1].cancel()
            await asyncio.sleep(0)
        await dial(connection)
        requests[-1].cancel()

    monkeypatch.setattr(client, "_dial", dialed)
    for n in range(6):
        requests.append(asyncio.ensure_future(client.request("GET", f"/{n}")))
        await asyncio.gather(*requests, return_exceptions=True)
        assert requests[-1].cancelled()
    await eventually(lambda: server.open == 0)
    assert client._open == 0
    monkeypatch.setattr(client, "_dial", dial)
    last = asyncio.ensure_future(client.request("GET", "/last"))
    await answered(server, "/last")
    await last
    assert (client._open, server.order) == (1, ["/last"])


async def test_many_take_turns_over_few_connections(server):
    client = HttpClient(server.url, connections=3, timeout=30.0)
    tasks = [asyncio.ensure_future(client.request("GET", f"/{n}")) for n in range(30)]
    while not all(task.done() for task in tasks):
        await eventually(lambda: bool(server.asked) or all(task.done() for task in tasks))
        for path in list(server.asked):
            server.answer(path)
        await asyncio.sleep(0)
    assert [int(path[1:]) for path in server.order] == sorted(range(30))
    assert server.connections == 3
    await client.close()
