"""A sandbox on free ports, clients of its APIs, and a webhook that takes its callbacks."""

import contextlib
import json
import shutil
import socket

import aiohttp
import pytest
from aiohttp import web

from infra.simulators.providers import Accounts, Options, ProviderSandbox
from tests.unit.simulators.providers.webhook import Hook

FAST = {"callback_delay_ms": 5, "late_delay_ms": 60, "batch_ms": 5, "callback_backoff_ms": 1}


@pytest.fixture(scope="session")
def kept_accounts(tmp_path_factory):
    """A file with the default accounts: an RSA key takes long to make."""
    file = tmp_path_factory.mktemp("accounts") / "accounts.json"
    Accounts(file)
    return file


@pytest.fixture
async def start(kept_accounts, tmp_path):
    """Start a sandbox: the object, and its ports."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options):
            file = shutil.copy(kept_accounts, tmp_path / "accounts.json")
            sandbox = ProviderSandbox(Options().changed({**FAST, **options}), Accounts(file))
            stack.push_async_callback(sandbox.stop)
            return sandbox, await sandbox.start()

        yield start


class Answered:
    """An answer to a test: status, headers, body."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


@pytest.fixture
async def http():
    """Ask anything: `await http("POST", url, json={…})` gives status, headers and body."""
    async with aiohttp.ClientSession() as session:

        async def ask(method, url, **more):
            more.setdefault("timeout", aiohttp.ClientTimeout(total=10))
            async with session.request(method, url, **more) as response:
                return Answered(response, await response.read())

        yield ask


@pytest.fixture
async def hook():
    """A webhook on a free port; `hook.origin` is where."""
    hook = Hook()
    application = web.Application()
    application.router.add_route("*", "/{anything:.*}", hook.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hook
    await runner.cleanup()


@pytest.fixture
def free_port():
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
