"""The stand-in for load: many at once, in each provider's form."""

import asyncio
import json
import re
import sys

import aiohttp
import pytest

from infra.local.ports import in_use
from infra.simulators.providers.load import LoadProvider
from tests.waiting import eventually


@pytest.fixture
async def load():
    provider = LoadProvider(0.05)
    port = await provider.start()
    yield provider, f"http://127.0.0.1:{port}"
    await provider.stop()


@pytest.mark.parametrize(
    ("path", "status", "form"),
    [
        ("/2010-04-01/Accounts/AC1/Messages.json", 201, r'"sid": "SM[0-9a-f]{32}"'),
        ("/v1/projects/p/messages:send", 200, r'"name": "projects/sandbox/messages/[0-9a-f]{32}"'),
        ("/v23.0/1/messages", 200, r'"messages": \[{"id": "wamid.[0-9a-f]{32}"}\]'),
        ("/token", 200, r'"access_token": "ya29.[0-9a-f]{32}"'),
    ],
)
async def test_answers_have_the_providers_form(load, http, path, status, form):
    _, url = load
    answers = [await http("POST", url + path, data=b"x" * 500) for _ in range(2)]
    assert [answer.status for answer in answers] == [status] * 2
    assert all(re.search(form, answer.body.decode()) for answer in answers)
    assert answers[0].body != answers[1].body
    json.loads(answers[0].body)


async def test_mail_has_its_id_in_a_header(load, http):
    _, url = load
    answer = await http("POST", url + "/v3/mail/send", data=b"{}")
    assert (answer.status, answer.body) == (202, b"")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Message-Id"])


async def test_many_at_once_take_one_latency(load, http):
    provider, url = load
    loop = asyncio.get_running_loop()
    began = loop.time()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one():
            async with session.post(url + "/v3/mail/send", data=b"{}") as response:
                return response.headers["X-Message-Id"]

        ids = await asyncio.gather(*(one() for _ in range(200)))
        took = loop.time() - began
        assert len(set(ids)) == 200
        assert 0.05 <= took < 5
        assert provider.counters.peak_in_flight > 100
        stats = (await http("GET", url + "/stats")).json
        assert (stats["requests"], stats["in_flight"]) == (200, 0)
        assert (await http("POST", url + "/reset")).json["requests"] == 0


async def test_a_client_that_leaves_or_talks_nonsense(load):
    provider, url = load
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /token HTTP/1.1\r\ncontent-length: 0\r\n\r\n" * 2)
    await eventually(lambda: provider.counters.in_flight == 2)
    writer.close()
    await eventually(lambda: provider.counters.connections == 0)
    assert provider.counters.in_flight == 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x01nonsense\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_as_a_process_on_its_own_loop(http, free_port):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.simulators.providers.load"),
        *("--port", str(free_port), "--latency-ms", "1"),
    )
    try:
        await eventually(lambda: in_use(free_port), pause=0.05)
        answer = await http("POST", f"http://127.0.0.1:{free_port}/v3/mail/send", data=b"{}")
        assert answer.status == 202
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 5) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
