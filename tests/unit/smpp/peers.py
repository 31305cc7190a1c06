"""The other end of a connection, on a real socket, that says exactly what a test tells it to."""

import asyncio
import contextlib

from adapters.smpp.protocol.constants import HEADER_LENGTH, CommandId
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindTransceiver,
    BindTransceiverResp,
    DeliverSm,
    Pdu,
    SubmitSm,
    decode,
    encode,
)
from adapters.smpp.protocol.session import Timers, connect

BIND = BindTransceiver("hermes", "secret")
MESSAGE = SubmitSm(source_addr="HERMES", destination_addr="4520000000", short_message=b"hi")
RECEIPT = DeliverSm(esm_class=4, short_message=b"id:1 stat:DELIVRD")
QUICK = Timers(session_init=5, enquire_link=0.05, enquire_link_timeout=0.05, response=5)


class Peer:
    """The other end of one connection, spoken to PDU by PDU."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, pdu: Pdu | bytes, sequence=1, status=0):
        if isinstance(pdu, Pdu):
            pdu = encode(pdu, sequence_number=sequence, command_status=status)
        self.writer.write(pdu)

    async def receive(self):
        """(command_id, status, sequence, pdu) of the next PDU that is not an enquire_link."""
        while True:
            head = await self.reader.readexactly(HEADER_LENGTH)
            length, command_id, status, sequence = HEADER.unpack(head)
            frame = head + await self.reader.readexactly(length - HEADER_LENGTH)
            if command_id != CommandId.ENQUIRE_LINK:
                return command_id, status, sequence, decode(frame)[2]

    async def accept(self):
        _, _, sequence, bind = await self.receive()
        self.send(BindTransceiverResp("peer"), sequence)
        return bind

    async def ended(self):
        """Read until the other side closes."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class Smsc:
    """A listening socket; each connection is a Peer in `peers`."""

    def __init__(self):
        self.peers = asyncio.Queue()
        self.open = []

    async def start(self, tls=None):
        self.server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _accepted(self, reader, writer):
        self.open.append(writer)
        await self.peers.put(Peer(reader, writer))

    async def session(self, *, on_deliver=lambda *_: None, bind=BIND, window=4, **more):
        """A bound EsmeSession and its peer."""
        connecting = asyncio.ensure_future(
            connect("127.0.0.1", self.port, bind=bind, on_deliver=on_deliver, window=window, **more)
        )
        peer = await self.peers.get()
        await peer.accept()
        return await connecting, peer

    async def stop(self):
        for writer in self.open:
            writer.transport.abort()
        self.server.close()
        await self.server.wait_closed()
