"""Servers of which any will do: what each can do to a request, and who hears it then."""

import asyncio
import contextlib
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from adapters.restate.http import ConnectionGone
from adapters.restate.ingress import RestateIngress
from adapters.restate.servers import Servers
from domain.message import Content, Level, MessageOrder, Step
from domain.ports import EngineUnavailable
from infra.local.ports import HOST, Ports
from tests.waiting import eventually

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ORDER = MessageOrder(
    tenant="acme",
    to={"sms": "+4520123456"},
    content=Content("Your code is 4711"),
    plan=(Step("sms", 30.0, Level.DELIVERED),),
    accepted_at=NOON,
    expires_at=NOON + timedelta(hours=1),
)
ACCEPTED = b'{"status":"Accepted"}'


class Node:
    """A server on a port of its own, which it keeps while it is down. `heard` are the bodies of
    its requests; `answers` and `stays` say what it does with one."""

    def __init__(self, answers=True, stays=True):
        self.answers = answers
        self.stays = stays
        self.heard = []
        self.talks = set()
        self.server = None
        self.port = Ports.free().ingress

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    async def start(self):
        self.server = await asyncio.start_server(self.talk, HOST, self.port)
        return self

    async def stop(self):
        if self.server is not None:
            self.server.close()
        for talk in self.talks:
            talk.cancel()
        await asyncio.gather(*self.talks, return_exceptions=True)

    async def talk(self, reader, writer):
        self.talks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                self.heard.append(await reader.readexactly(int(length or 0)))
                if not self.stays:
                    break
                if self.answers:
                    size = f"content-length: {len(ACCEPTED)}\r\n\r\n".encode()
                    writer.write(b"HTTP/1.1 202 Accepted\r\n" + size + ACCEPTED)
        writer.close()


@pytest.fixture
async def node():
    """Makes nodes that are up; with `up=False` nobody listens at their port."""
    nodes = []

    async def make(*, up=True, **does):
        nodes.append(Node(**does))
        return await nodes[-1].start() if up else nodes[-1]

    yield make
    for each in nodes:
        await each.stop()


@pytest.fixture
async def together():
    made = []

    def make(*nodes):
        made.append(Servers([node.url for node in nodes]))
        return made[-1]

    yield make
    for servers in made:
        await servers.close()


async def ask(servers, times):
    return [(await servers.request("POST", "/", b"it")).status for _ in range(times)]


async def test_each_server_has_its_turn(node, together):
    nodes = [await node() for _ in range(3)]
    assert await ask(together(*nodes), 6) == [202] * 6
    assert [len(each.heard) for each in nodes] == [2, 2, 2]


@pytest.fixture
def unreachable():
    """A server that is there and takes no more connections, as a machine that has lost its power
    does not: whoever dials waits."""
    with socket.socket() as full, contextlib.ExitStack() as dialing:
        port = Ports.free().ingress
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((HOST, port))
        full.listen(0)
        for _ in range(8):
            caller = dialing.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex((HOST, port))
        yield port


@pytest.mark.parametrize("how", ["refuses", "does not answer the dialing"])
async def test_nobody_notices_a_server_without_a_connection(node, together, unreachable, how):
    down, well = await node(up=False), await node()
    if how != "refuses":
        down.port = unreachable
    # Whoever finds it out goes on to the other one, and nobody after that tries again.
    began = asyncio.get_running_loop().time()
    assert await ask(together(down, well), 20) == [202] * 20
    assert len(well.heard) == 20
    assert asyncio.get_running_loop().time() - began < 5.0


async def test_a_request_that_may_have_been_heard_is_nobody_elses(node, together):
    dying, well = await node(stays=False), await node()
    servers = together(well, dying)
    with pytest.raises(ConnectionGone):
        await ask(servers, 2)
    assert (len(dying.heard), len(well.heard)) == (1, 0)
    # The next ones are: they go where there is an answer.
    assert await ask(servers, 5) == [202] * 5
    assert (len(dying.heard), len(well.heard)) == (1, 5)


async def test_a_server_that_owes_an_answer_gets_nothing_more(node, together):
    mute, well = await node(answers=False), await node()
    servers = together(well, mute)
    waiting = asyncio.create_task(ask(servers, 1))
    await eventually(lambda: mute.heard)

    async def all_elsewhere():
        before = len(well.heard)
        asked = [asyncio.create_task(ask(servers, 1)) for _ in range(4)]
        _, slow = await asyncio.wait(asked, timeout=0.2)
        for each in slow:
            each.cancel()
        return len(well.heard) - before == 4

    await eventually(all_elsewhere, pause=0.05)
    assert not waiting.done()
    waiting.cancel()


async def test_a_server_that_is_back_has_its_turn_again(node, together):
    absent, well = await node(up=False), await node()
    servers = together(absent, well)
    assert await ask(servers, 4) == [202] * 4
    await absent.start()

    async def is_asked():
        await ask(servers, 1)
        return len(absent.heard) > 1

    await eventually(is_asked, pause=0.05)


async def test_without_any_server_it_says_that_nobody_has_heard(node, together):
    nobody = [await node(up=False) for _ in range(3)]
    with pytest.raises(ConnectionRefusedError):
        await ask(together(*nobody), 1)


def test_no_server_at_all_is_a_mistake():
    with pytest.raises(ValueError, match="no server"):
        Servers([])


@pytest.mark.parametrize(
    ("repeatable", "fresh"),
    [
        pytest.param(True, [True, True], id="known by its key"),
        pytest.param(False, [True, False], id="told that it may be there already"),
    ],
)
async def test_a_message_that_a_dying_node_may_have_is_brought_to_another(node, repeatable, fresh):
    dying, well = await node(stays=False), await node()
    ingress = RestateIngress(well.url, dying.url)
    assert await ingress.start("msg_1", ORDER, traceparent=None, repeatable=repeatable)
    await ingress.close()
    told = [json.loads(body).get("fresh", False) for body in (*dying.heard, *well.heard)]
    assert told == fresh


async def test_nodes_that_all_go_are_an_engine_that_is_not_there(node):
    dying = [await node(stays=False) for _ in range(2)]
    ingress = RestateIngress(*(each.url for each in dying))
    with pytest.raises(EngineUnavailable):
        await ingress.start("msg_1", ORDER, traceparent=None, repeatable=True)
    await ingress.close()
    assert [len(each.heard) for each in dying] == [1, 1]
