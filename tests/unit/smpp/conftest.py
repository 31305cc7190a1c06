import asyncio

import pytest

from adapters.smpp.protocol.session import SmscSession
from tests.unit.smpp.peers import QUICK, Peer, Smsc


@pytest.fixture
async def smsc():
    smsc = Smsc()
    await smsc.start()
    yield smsc
    await smsc.stop()


@pytest.fixture
async def ours():
    """Our own SMSC side: a function that starts it and gives a raw Peer to speak to it with."""
    servers, peers = [], []

    async def start(*, timers=QUICK, window=4, on_bind=None, on_submit=None):
        sessions = []

        def made():
            session = SmscSession(
                on_bind=on_bind or (lambda s, sequence, bind: s.accept_bind(sequence, "smsc")),
                on_submit=on_submit
                or (lambda s, sequence, pdu: s.respond(sequence, pdu.command_id, 0, "id")),
                window=window,
                timers=timers,
            )
            sessions.append(session)
            return session

        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        servers.append(server)
        peer = Peer(*await asyncio.open_connection(*server.sockets[0].getsockname()))
        peers.append(peer)
        return peer, sessions

    yield start
    for peer in peers:
        peer.writer.transport.abort()
    for server in servers:
        server.close()
        await server.wait_closed()
