import asyncio

import pytest

from infra.bench.relay import Relay
from infra.local.ports import Ports
from tests.waiting import eventually


class Echo(asyncio.Protocol):
    gone = 0

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        Echo.gone += 1

    def data_received(self, data):
        self.transport.write(data)


@pytest.fixture
async def relay():
    """A relay before a server that says what it hears: the relay and its port."""
    ports = Ports.free()
    echo = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", ports.smsc)
    async with Relay(ports.smsc) as relay:
        await relay.listen(ports.smsc_control)
        yield relay, ports.smsc_control
    echo.close()


@pytest.fixture
async def dial(relay):
    writers = []

    async def dial():
        reader, writer = await asyncio.open_connection("127.0.0.1", relay[1])
        writers.append(writer)
        return reader, writer

    yield dial
    for writer in writers:
        writer.close()


async def say(connection, words):
    reader, writer = connection
    writer.write(words)
    return await reader.readexactly(len(words))


async def test_octets_pass_and_the_first_answer_is_noted(relay, dial):
    connection = await dial()
    assert relay[0].answered_at == {}
    assert await say(connection, b"bind") == b"bind"
    assert list(relay[0].answered_at) == [0]


async def test_silence_is_for_the_connections_that_are_open(relay, dial):
    before = await dial()
    await say(before, b"bind")
    relay[0].silence()
    before[1].write(b"enquire_link")
    answer = asyncio.create_task(before[0].read(1))
    after = await dial()
    assert await say(after, b"bind") == b"bind"
    # What the second one said has been there and back; the first one's words came before them.
    assert not answer.done()
    assert sorted(relay[0].answered_at) == [0, 1]
    answer.cancel()


async def test_a_close_passes_like_everything_else(relay, dial):
    reader, writer = await dial()
    await say((reader, writer), b"bind")
    gone = Echo.gone
    writer.close()
    await eventually(lambda: Echo.gone == gone + 1)


async def test_leaving_cuts_everything(dial, relay):
    reader, writer = await dial()
    await say((reader, writer), b"bind")
    await relay[0].__aexit__(None, None, None)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
