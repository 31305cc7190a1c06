"""Listening: who connects is heard soon, however busy the process is."""

import asyncio
import contextlib
import errno
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


async def test_a_machine_without_ipv6_listens_at_localhost(monkeypatch):
    create, families = socket.create_server, []

    async def both(host, port, **_):
        places = {socket.AF_INET6: ("::1", port, 0, 0), socket.AF_INET: ("127.0.0.1", port)}
        return [(family, socket.SOCK_STREAM, 6, "", place) for family, place in places.items()]

    def without_ipv6(address, *, family, **options):
        families.append(family)
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(address, family=family, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    sockets = await _listening(Listener(host="localhost", port=Ports.free().api))
    assert families == [socket.AF_INET6, socket.AF_INET]
    assert {each.family for each in sockets} == {socket.AF_INET}
    for each in sockets:
        each.close()


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
