"""An SMTP server that answers what it is told to."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from domain.delivery import DeliveryRequest
from domain.message import Content

DROP = object()
"""Instead of a reply: the connection is cut."""
SILENCE = object()
"""Instead of a reply: nothing."""


class ScriptedRelay:
    """Accepts every mail, except where `replies` say otherwise.

    They are by verb; `CONNECT` stands for the greeting and `BODY` for the end of the data. Those in
    a list are given once each.
    """

    def __init__(self):
        self.replies = {
            "CONNECT": "220 ready",
            "EHLO": "250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "AUTH": "235 2.7.0 welcome",
            "DATA": "354 go on",
            "BODY": "250 2.0.0 taken",
        }
        self.commands = []
        self.mails = []
        self._writers = []

    async def start(self, tls=None):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def said(self, verb):
        """How often a command came."""
        return sum(command.split()[0].upper() == verb for command in self.commands)

    def stop(self):
        self._server.close()
        self.hang_up()

    def hang_up(self):
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._converse(reader, writer)

    async def _converse(self, reader, writer):
        if not self._reply(writer, "CONNECT"):
            return
        while line := await reader.readline():
            self.commands.append(line.decode().strip())
            verb = line.split()[0].decode().upper()
            reply = self._reply(writer, verb)
            if not reply:
                return
            if verb == "DATA" and reply is not SILENCE and reply.startswith("354"):
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                if not self._reply(writer, "BODY"):
                    return
            if verb == "QUIT":
                writer.close()
                return

    def _reply(self, writer, verb):
        reply = self.replies.get(verb)
        if isinstance(reply, list):
            reply = reply.pop(0) if reply else None
        reply = reply or "250 2.0.0 ok"
        if reply is DROP:
            writer.transport.abort()
            return None
        if reply is not SILENCE:
            writer.write(reply.encode() + b"\r\n")
        return reply


@pytest.fixture
async def smtp():
    relay = await ScriptedRelay().start()
    yield relay
    relay.stop()


@pytest.fixture
def request_for():
    """Makes delivery requests for one mail."""

    def make(to="anna@example.com", *, attempt=1, sender=None, not_after=None, **content):
        return DeliveryRequest(
            message="msg_1",
            attempt=attempt,
            tenant="acme",
            to=to,
            content=Content(**{"text": "Hi Anna", "subject": "Hello", **content}),
            receipt_ref="ref",
            not_after=not_after or datetime.now(UTC) + timedelta(minutes=1),
            sender=sender,
        )

    return make


@pytest.fixture(scope="session")
def certificate(authority):
    """A server's certificate for localhost and no other name."""
    return authority.server("localhost")
