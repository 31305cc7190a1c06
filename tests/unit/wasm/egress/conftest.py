"""A provider that answers what it is told to, behind TLS, and adapters that may call it."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.wasm.contract import HttpRequest
from adapters.wasm.egress import Egress
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import ConfigurationKey, GoogleToken, Limits, Manifest
from tests.certificates import Authority

HOST = "api.example.com"
URL = f"https://{HOST}/v1/messages"
DROP = object()
"""Instead of an answer: the connection is cut."""
SILENCE = object()
"""Instead of an answer: nothing."""
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def answer(body=b"", *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "\r\n"]
    return "\r\n".join(lines).encode() + body


class Provider:
    """`answers` are given in turn, the last of them for ever. `closing` ends each connection."""

    def __init__(self):
        self.answers = [OK]
        self.closing = False
        self.requests = []
        self.connections = 0
        self.closed = 0
        self._writers = set()

    async def start(self, tls):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def open(self):
        return self.connections - self.closed

    @property
    def last(self):
        """The last request: its first line, headers and body."""
        return self.requests[-1]

    async def stop(self):
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        self._writers.discard(writer)
        self.closed += 1
        writer.transport.abort()

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines]
        length = int(dict(headers).get("content-length", 0))
        self.requests.append((first, headers, await reader.readexactly(length)))
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(said):
            said = said(self.last)
        if said is DROP:
            return False
        if said is not SILENCE:
            writer.write(said)
            await writer.drain()
        if self.closing:
            writer.close()
            await writer.wait_closed()
        return not self.closing


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_tls(authority):
    return authority.server(HOST, "oauth2.googleapis.com", "a.tenant.example.com").context()


@pytest.fixture
async def provider(server_tls):
    provider = await Provider().start(server_tls)
    yield provider
    await provider.stop()


SECRETS = {"api_key": "k3y/with+signs é", "password": "pass:word", "short": "abc", "empty": ""}
VALUES = {"account": "AC1", "retries": 3}


@pytest.fixture
def installed():
    """Makes an adapter as a tenant has it."""

    def make(
        *,
        tenant="acme",
        hosts=(HOST,),
        secrets=SECRETS,
        values=VALUES,
        tokens=None,
        revision=1,
        **limits,
    ):
        keys = {key: ConfigurationKey("string", "a key") for key in (*secrets, *values)}
        manifest = Manifest(
            name="provider",
            version="1.0.0",
            contract="1.0.0",
            summary="A provider",
            channels=("sms",),
            hosts=tuple(hosts),
            tokens=tokens or {},
            configuration=keys,
            limits=Limits(**limits),
        )
        return Installed(
            tenant=tenant,
            adapter="provider",
            version="0a1b2c3d" * 8,
            revision=revision,
            manifest=manifest,
            component=Path("adapter.wasm"),
            values=values,
            secrets={key: SecretStr(value) for key, value in secrets.items()},
            priority=1,
        )

    return make


@pytest.fixture
async def egress_with(authority):
    """Makes an egress that trusts the tests' authority."""
    made = []

    def make(reroute=None, **more):
        trust = more.pop("trust", None) or ssl.create_default_context(cafile=authority.file)
        made.append(Egress(reroute=reroute, trust=trust, **more))
        return made[-1]

    yield make
    for egress in made:
        await egress.close()


@pytest.fixture
def egress(egress_with, provider):
    """An egress whose way to HOST leads to the provider."""
    return egress_with({HOST: f"https://127.0.0.1:{provider.port}"})


@pytest.fixture
def send(egress, installed):
    """Makes one request in a guest call of its own."""

    async def make(url=URL, method="POST", headers=(), body="", timeout_ms=None, **adapter):
        request = HttpRequest(method, url, tuple(headers), body, timeout_ms)
        return await egress.port(installed(**adapter)).send(request)

    return make


def google(key="service_account"):
    return {"firebase": GoogleToken(key=key, scope="https://www.googleapis.com/auth/x")}
