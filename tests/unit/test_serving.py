"""Listening: who connects is heard soon, however busy the process is."""

import asyncio
import contextlib
import logging
import socket

import pytest
import uvloop

from infra.local.ports import Ports
from infra.processes.serving import _listening, _Uvicorn
from infra.settings import Listener

CLIENTS = 128


async def _turns_until_all_are_accepted() -> int:
    """Turns of a loop in which every client has connected before."""
    loop = asyncio.get_running_loop()
    turns, accepted = 0, 0

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1

    sockets = await _listening(Listener(host="127.0.0.1", port=Ports.free().api))
    with contextlib.ExitStack() as clients:
        for _ in range(CLIENTS):
            client = clients.enter_context(socket.socket())
            client.connect(sockets[0].getsockname())
        servers = [await loop.create_server(Counting, sock=each) for each in sockets]
        while accepted < CLIENTS:
            turns += 1
            await asyncio.sleep(0)
        for server in servers:
            server.close()
    return turns


def test_a_turn_of_the_loop_accepts_many():
    assert uvloop.run(_turns_until_all_are_accepted()) < CLIENTS / 2


async def test_an_address_that_is_taken_is_said(caplog):
    async def app(scope, receive, send):
        raise AssertionError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = _Uvicorn(app, Listener(host="127.0.0.1", port=port))
        with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as exit_:
            await server.serve()
    assert exit_.value.code == 1
    assert f"cannot listen at 127.0.0.1, port {port}" in caplog.text
