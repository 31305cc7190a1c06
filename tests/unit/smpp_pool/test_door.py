"""The pool's door for the cascade: who gets in, what is answered, and what becomes of whoever asks
a pool that is down, hangs, or does not know the key."""

import asyncio
import contextlib
import socket

import httpx
import msgspec
import pytest
import uvicorn

from adapters.restate.http import ConnectionGone
from adapters.smpp.door import PATH, PoolDoor
from domain.delivery import SubmissionState
from domain.mode import Mode
from handlers.delivery.direct import Direct
from handlers.delivery.door import delivery_door
from infra.local.ports import HOST, Ports
from tests.waiting import eventually

KEY = "the-doors-key"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}


async def teapot(scope, receive, send):
    """What stands beside the door."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def serve():
    """Serves an application as a pool's process does; its address."""
    running = []

    async def start(app, port=None):
        port = port or Ports.free().pool
        config = uvicorn.Config(
            app, host=HOST, port=port, http="httptools", ws="none", lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        running.append((server, asyncio.ensure_future(server.serve())))
        await eventually(lambda: server.started)
        return f"http://{HOST}:{port}"

    yield start
    for server, serving in running:
        server.should_exit = server.force_exit = True
        await serving


@pytest.fixture
async def door():
    """Makes the ways to pools."""
    made = []

    def make(*urls, key=KEY):
        made.append(PoolDoor(urls, key))
        return made[-1]

    yield make
    for each in made:
        await each.close()


class Raw:
    """Listens where a pool should be. Reads requests, and does with each connection's what it is
    told: "answer", "hang" or "close"."""

    def __init__(self, *does):
        self.does = does
        self.heard = 0
        self.writers = []

    async def start(self, answer):
        self.answer = msgspec.json.encode(answer)
        self.server = await asyncio.start_server(self._talk, HOST, 0)
        return f"http://{HOST}:{self.server.sockets[0].getsockname()[1]}"

    async def stop(self):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _talk(self, reader, writer):
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for does in self.does:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                self.heard += 1
                if does == "hang":
                    await reader.read()
                if does == "close":
                    break
                size = f"content-length: {len(self.answer)}\r\n\r\n".encode()
                writer.write(b"HTTP/1.1 200 OK\r\n" + size + self.answer)
        writer.close()


@pytest.fixture
async def raw():
    made = []

    async def make(*does, answer):
        made.append(Raw(*does))
        return made[-1], await made[-1].start(answer)

    yield make
    for each in made:
        await each.stop()


@pytest.fixture
def dead_end():
    """A machine that has lost its power: whoever dials waits."""
    with socket.socket() as full, contextlib.ExitStack() as dialing:
        full.bind((HOST, 0))
        full.listen(0)
        for _ in range(8):
            caller = dialing.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        yield f"http://{HOST}:{full.getsockname()[1]}"


# Who gets in


REFUSED = {
    "no key": ({}, "POST", b"{}", 401),
    "a wrong key": ({"authorization": "Bearer wrong"}, "POST", b"{}", 401),
    "a key without its scheme": ({"authorization": KEY}, "POST", b"{}", 401),
    "the right key in another header": ({"x-authorization": f"Bearer {KEY}"}, "POST", b"{}", 401),
    "no key is told nothing else": ({}, "GET", b"", 401),
    "another method": (AUTHORIZED, "GET", b"", 405),
    "too large": (AUTHORIZED, "POST", b" " * (1 << 20) + b" ", 413),
    "empty": (AUTHORIZED, "POST", b"", 400),
    "no JSON": (AUTHORIZED, "POST", b"{", 400),
    "not an object": (AUTHORIZED, "POST", b"[]", 400),
    "no attempt": (AUTHORIZED, "POST", b'{"message": "msg_1"}', 400),
}


@pytest.mark.parametrize(("headers", "method", "body", "status"), REFUSED.values(), ids=REFUSED)
async def test_refused(smsc, pool, headers, method, body, status):
    simulator = await smsc()
    app = delivery_door(teapot, (await pool(simulator)).binds, KEY)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        answer = await client.request(method, "http://pool" + PATH, headers=headers, content=body)
    assert (answer.status_code, answer.content) == (status, b"")
    assert simulator.submits == []


async def test_a_test_message_reaches_no_carrier(smsc, pool, request_for):
    simulator = await smsc()
    app = delivery_door(teapot, (await pool(simulator)).binds, KEY)
    body = msgspec.json.encode(request_for(mode=Mode.TEST))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=AUTHORIZED) as client:
        assert (await client.post("http://pool" + PATH, content=body)).status_code == 403
    assert simulator.submits == []


async def test_an_error_of_ours_is_no_answer(smsc, pool, request_for):
    """Then the same may be asked by Restate."""
    hermes = await pool(await smsc())
    await hermes.close()
    app = delivery_door(teapot, hermes.binds, KEY)
    body = msgspec.json.encode(request_for())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=AUTHORIZED) as client:
        answer = await client.post("http://pool" + PATH, content=body)
    assert answer.status_code == 500


@pytest.mark.parametrize("path", ["/", "/deliver/", "/deliverx", "/invoke/SmsDelivery/deliver"])
async def test_what_is_beside_the_door_stays_there(smsc, pool, path):
    app = delivery_door(teapot, (await pool(await smsc())).binds, KEY)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        assert (await client.post("http://pool" + path)).status_code == 418


# What is answered


async def test_an_attempt_and_the_same_again(smsc, pool, serve, door, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    way = door(await serve(delivery_door(teapot, hermes.binds, KEY)))
    first = await way.deliver(request_for())
    again = await way.deliver(request_for())
    assert (first.state, len(simulator.submits)) == (SubmissionState.TAKEN, 1)
    assert (again.state, again.provider_ids) == (first.state, first.provider_ids)


async def test_told_again_with_the_receipt_that_nobody_heard(smsc, pool, serve, door, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    way = door(await serve(delivery_door(teapot, hermes.binds, KEY)))
    wanted = request_for(with_receipt=True)
    lost = await way.deliver(wanted)
    again = await way.deliver(wanted)
    assert lost.receipt is not None
    assert (again.receipt, len(simulator.submits)) == (lost.receipt, 1)


async def test_told_again_although_no_carrier_would_take_it_now(
    smsc, pool, serve, door, request_for
):
    """A route that an operator closed meanwhile changes nothing about what was sent."""
    simulator = await smsc()
    hermes = await pool(simulator)
    way = door(await serve(delivery_door(teapot, hermes.binds, KEY)))
    first = await way.deliver(request_for(message="msg_sent"))
    moved = request_for(message="msg_sent", provider="gone")
    assert (await way.deliver(moved)).provider_ids == first.provider_ids
    other = await way.deliver(request_for(message="msg_new", provider="gone"))
    assert other.state is SubmissionState.FAILED


async def test_whoever_gives_up_is_answered_when_he_asks_again(
    carrier, pool, serve, door, request_for
):
    """Given up while the carrier was silent: one submission, and its answer."""
    hermes = await pool(carrier, response_timeout=5.0)
    url = await serve(delivery_door(teapot, hermes.binds, KEY))
    direct = Direct(elsewhere={"SmsDelivery": door(url).deliver})
    assert await direct.deliver("SmsDelivery", request_for(), 0.1) is None
    again = asyncio.ensure_future(direct.deliver("SmsDelivery", request_for(), 5.0))
    await eventually(lambda: carrier.submits)
    carrier.answer("smsc-1")
    assert (await again).provider_ids == ("smsc-1",)
    assert carrier.submits == []


# Pools that give no answer


async def test_a_pool_that_is_down_is_passed_over(smsc, pool, serve, door, request_for):
    simulator = await smsc()
    up = await serve(delivery_door(teapot, (await pool(simulator)).binds, KEY))
    way = door(f"http://{HOST}:{Ports.free().pool}", up)
    for number in range(4):
        answer = await way.deliver(request_for(message=f"msg_{number}"))
        assert answer.state is SubmissionState.TAKEN
    assert len(simulator.submits) == 4


async def test_a_machine_that_is_gone_is_passed_over(
    smsc, pool, serve, door, request_for, dead_end
):
    simulator = await smsc()
    up = await serve(delivery_door(teapot, (await pool(simulator)).binds, KEY))
    way = door(dead_end, up)
    async with asyncio.timeout(3):
        for number in range(4):
            await way.deliver(request_for(message=f"msg_{number}"))
    assert len(simulator.submits) == 4


async def test_no_pool_at_all(door, request_for):
    way = door(*(f"http://{HOST}:{Ports.free().pool}" for _ in range(2)))
    with pytest.raises(OSError, match=r"refused|Connect"):
        await way.deliver(request_for())


async def test_a_pool_with_another_key(smsc, pool, serve, door, request_for):
    simulator = await smsc()
    url = await serve(delivery_door(teapot, (await pool(simulator)).binds, "another"))
    with pytest.raises(OSError, match="401"):
        await door(url).deliver(request_for())
    assert simulator.submits == []


NO_SUBMISSION = [{}, {"state": "sent"}, "taken"]


@pytest.mark.parametrize("answer", NO_SUBMISSION)
async def test_what_answers_is_no_pool(raw, door, request_for, answer):
    _, url = await raw("answer", answer=answer)
    with pytest.raises(OSError, match="no submission"):
        await door(url).deliver(request_for())


async def test_an_idle_connection_that_was_closed(raw, door, request_for, taken):
    """The next request meets it, and is made once more."""
    server, url = await raw("answer", "close", answer=taken)
    way = door(url)
    for _ in range(3):
        assert (await way.deliver(request_for())).state is SubmissionState.TAKEN
    assert server.heard == 5


async def test_a_pool_that_dies_with_each_request(raw, door, request_for, taken):
    """Whether it heard them, its journal knows, and no other pool is asked."""
    server, url = await raw("close", answer=taken)
    other, beside = await raw("answer", answer=taken)
    way = door(beside, url)
    with pytest.raises(ConnectionGone):
        await way.deliver(request_for())
    assert (server.heard, other.heard) == (2, 0)


async def test_a_pool_that_hangs_is_given_up_and_no_other_is_asked(raw, door, request_for, taken):
    server, url = await raw("hang", answer=taken)
    other, beside = await raw("answer", answer=taken)
    direct = Direct(elsewhere={"SmsDelivery": door(beside, url).deliver})
    assert await direct.deliver("SmsDelivery", request_for(), 0.1) is None
    assert (server.heard, other.heard) == (1, 0)


@pytest.fixture
async def taken(smsc, pool, request_for):
    """A submission as a pool makes it."""
    return await (await pool(await smsc())).deliver(request_for())
