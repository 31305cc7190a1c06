"""SMSC simulators on free ports."""

import contextlib

import aiohttp
import pytest

from infra.simulators.smsc import Options, SmscSimulator


@pytest.fixture
async def start():
    """Start a simulator: its object, its port, the URL of its control port."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(options=None, tls=None):
            simulator = SmscSimulator(options or Options(receipt_delay=0.01, late_delay=0.02), tls)
            port, control = await simulator.start()
            stack.push_async_callback(simulator.stop)
            return simulator, port, f"http://127.0.0.1:{control}"

        yield start


@pytest.fixture
async def call():
    """Ask a control port: `await call("PATCH", url + "/options", {…})` gives status and JSON."""
    async with aiohttp.ClientSession() as http:

        async def call(method, url, body=None):
            async with http.request(method, url, json=body) as response:
                return response.status, await response.json()

        yield call
