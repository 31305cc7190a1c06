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


def test_an_address_without_a_place_for_the_number_is_refused():
    with pytest.raises(ValueError, match="number"):
        HttpLookup("http://127.0.0.1/", field="mccmnc")
