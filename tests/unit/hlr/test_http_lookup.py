"""A number lookup over HTTP, against the simulator and against whatever else may answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from adapters.hlr.http import HttpLookup
from domain.ports import LookupUnavailable
from infra.simulators import hlr


@asynccontextmanager
async def serving(routes: list[web.RouteDef]):
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(url: str, field: str = "mccmnc", **options):
    lookup = HttpLookup(url, field=field, **options)
    try:
        yield lookup
    finally:
        await lookup.close()


@pytest.mark.parametrize(
    ("number", "operator"),
    [
        ("+4520120000", "23801"),
        ("+4520120001", "23802"),
        ("+14155550000", "310260"),
        ("+38970123456", "00101"),
        ("+4520120404", None),
    ],
)
async def test_the_simulated_register(number: str, operator: str | None):
    async with (
        serving(hlr.routes()) as address,
        asking(f"{address}/operators/{{number}}") as lookup,
    ):
        assert await lookup.look_up(number) == operator
        assert await lookup.look_up(number) == operator


@pytest.mark.parametrize(
    ("answer", "field", "operator"),
    [
        (web.json_response({"mccmnc": "23801"}), "mccmnc", "23801"),
        (web.json_response({"mccmnc": 23801}), "mccmnc", "23801"),
        (web.json_response({"mccmnc": "238-01"}), "mccmnc", "23801"),
        (web.json_response({"data": {"network": {"id": "23801"}}}), "data.network.id", "23801"),
        (web.json_response({"mccmnc": None}), "mccmnc", None),
        (web.json_response({"mccmnc": ""}), "mccmnc", None),
        (web.Response(status=404), "mccmnc", None),
    ],
)
async def test_answers(answer: web.Response, field: str, operator: str | None):
    async def answers(request: web.Request) -> web.Response:
        assert request.match_info["number"] == "4520123456"
        assert request.headers.get("Authorization") == "Bearer secret"
        return answer

    async with (
        serving([web.get("/{number}", answers)]) as address,
        asking(f"{address}/{{number}}", field, authorization="Bearer secret") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == operator


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=503),
        web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
        web.Response(text="23801x"),
        web.Response(text='"23801'),
        web.json_response({"mccmnc": "Telenor"}),
        web.json_response({}),
        web.json_response([]),
        web.json_response({"mccmnc": {"a": 1}}),
        web.Response(body=b'{"mccmnc": "\xff"}'),
        web.Response(text="[" * 60_000),
        web.json_response({"mccmnc": "23801", "more": "x" * 65_536}),
    ],
)
async def test_what_is_no_answer_says_nothing_about_the_number(answer: web.Response):
    async def answers(request: web.Request) -> web.Response:
        return answer

    async with (
        serving([web.get("/{number}", answers)]) as address,
        asking(f"{address}/{{number}}?key=secret") as lookup,
    ):
        with pytest.raises(LookupUnavailable) as refusal:
            await lookup.look_up("+4520123456")
    assert "secret" not in str(refusal.value)


async def test_an_answer_in_pieces_is_read_to_its_end():
    async def answers(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in (b'{"mccm', b'nc": "23', b'801"}'):
            await answer.write(piece)
            for _ in range(20):
                # The client, on the same loop, reads it before the next one leaves.
                await asyncio.sleep(0)
        return answer

    async with (
        serving([web.get("/{number}", answers)]) as address,
        asking(f"{address}/{{number}}") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == "23801"


async def test_a_register_that_is_slow_or_not_there():
    async with (
        serving(hlr.routes()) as address,
        asking(f"{address}/operators/{{number}}", timeout=0.2) as lookup,
    ):
        with pytest.raises(LookupUnavailable):
            await lookup.look_up("+4520120504")
    async with asking(f"{address}/operators/{{number}}") as lookup:
        with pytest.raises(LookupUnavailable):
            await lookup.look_up("+4520120000")


@pytest.mark.parametrize(
    ("url", "authorization"),
    [
        ("http://127.0.0.1/", None),
        ("http://{number}.example/", None),
        ("http://127.0.0.1/a b/{number}", None),
        ("http://127.0.0.1/{number}", "Bearer a\r\nx: y"),
    ],
    ids=["no place", "in the host", "a blank", "two headers"],
)
async def test_an_address_that_cannot_be_asked_is_refused(url: str, authorization: str | None):
    with pytest.raises(ValueError, match=r"number|ASCII"):
        HttpLookup(url, field="mccmnc", authorization=authorization)


@asynccontextmanager
async def raw(*answers: bytes):
    """A server that gives each answer, and closes the connection after it."""
    left = list(answers)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


_OPEN_ENDED = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n"


async def test_an_answer_may_end_with_the_connection():
    async with (
        raw(_OPEN_ENDED + b'{"mccmnc": "23801"}') as (address, _),
        asking(f"http://{address}/{{number}}") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == "23801"


async def test_an_answer_that_is_cut_off_is_none():
    async with (
        raw(_OPEN_ENDED + b'{"mccmnc": "23801"') as (address, _),
        asking(f"http://{address}/{{number}}") as lookup,
    ):
        with pytest.raises(LookupUnavailable):
            await lookup.look_up("+4520123456")


_WHOLE = b'{"mccmnc": "23801"}'


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404",
        b"HTTP/1.1 404 Not Found\r\ncontent-type\x01: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n" + _WHOLE,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n13\r\n" + _WHOLE + b"\r\nz",
        b"nonsense",
        b"",
    ],
    ids=["half a head", "a bad header", "too short", "a bad chunk", "no HTTP", "nothing"],
)
async def test_a_broken_answer_says_nothing_about_the_number(answer: bytes):
    async with (
        raw(answer, answer) as (address, _),
        asking(f"http://{address}/{{number}}") as lookup,
    ):
        with pytest.raises(LookupUnavailable):
            await lookup.look_up("+4520123456")


async def test_an_answer_that_is_too_long_is_not_asked_for_again():
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b" " * 70_000
    async with (
        raw(long, long) as (address, asked),
        asking(f"http://{address}/{{number}}") as lookup,
    ):
        with pytest.raises(LookupUnavailable):
            await lookup.look_up("+4520123456")
    assert len(asked) == 1


async def test_an_address_without_a_path_is_asked_at_the_root():
    async with (
        raw(_OPEN_ENDED + _WHOLE) as (address, asked),
        asking(f"http://{address}?n={{number}}") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == "23801"
    assert asked[0].startswith(b"GET /?n=4520123456 HTTP/1.1\r\n")


async def test_a_connection_that_closes_as_it_is_used_is_no_answer():
    whole = b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"mccmnc": "23801"}'
    async with (
        raw(b"", whole) as (address, asked),
        asking(f"http://{address}/{{number}}") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == "23801"
    assert len(asked) == 2


async def test_a_login_in_the_address_is_sent():
    whole = b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"mccmnc": "23801"}'
    async with (
        raw(whole) as (address, asked),
        asking(f"http://me:s%40crt@{address}/find?n={{number}}") as lookup,
    ):
        assert await lookup.look_up("+4520123456") == "23801"
    head = asked[0].decode().splitlines()
    assert head[0] == "GET /find?n=4520123456 HTTP/1.1"
    assert "authorization: Basic bWU6c0BjcnQ=" in head
    assert f"host: {address}" in head
