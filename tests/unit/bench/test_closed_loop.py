import math

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.bench.closed_loop import keep_busy
from infra.bench.load import one_time_password


class Engine:
    """Takes messages, `capacity` of them a look, and refuses every `nth`. With `forgetful` all get
    one id."""

    def __init__(self, capacity=3, nth=None, forgetful=False):
        self.forgetful = forgetful
        self.capacity = capacity
        self.nth = nth
        self.texts = []
        self.under_way = 0
        self.most = 0

    async def post(self, request):
        order = await request.json()
        self.texts.append(order["content"]["text"])
        if self.nth and len(self.texts) % self.nth == 0:
            return web.json_response({}, status=429)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        number = 0 if self.forgetful else len(self.texts)
        return web.json_response({"id": f"id {number}"}, status=202)

    async def look(self):
        self.under_way = max(self.under_way - self.capacity, 0)
        return math.ceil(self.under_way)

    async def load(self, **more):
        app = web.Application()
        app.router.add_post("/v1/messages", self.post)
        async with TestServer(app) as server:
            return await keep_busy(
                str(server.make_url("")).rstrip("/"),
                "key",
                self.look,
                **{
                    "at_once": 10,
                    "look_every": 0.05,
                    "seconds": 1.5,
                    "label": "test",
                    "order": one_time_password,
                    **more,
                },
            )


async def test_an_engine_is_kept_full_and_never_given_more():
    engine = Engine(capacity=0.3)
    sent = await engine.load()
    assert engine.most == pytest.approx(10, abs=1)
    assert len(sent.due) == len(engine.texts) > 10
    assert len(set(engine.texts)) == len(engine.texts)
    assert set(sent.texts.values()) == set(engine.texts)


async def test_an_engine_is_filled_within_a_second_and_not_at_once():
    sent = await Engine(capacity=0).load(seconds=0.2)
    assert 1 <= len(sent.due) <= 5


async def test_an_engine_that_ends_nothing_is_given_no_more():
    sent = await Engine(capacity=0).load()
    assert len(sent.due) == 10


async def test_refusals_are_counted_and_no_messages():
    engine = Engine(nth=2)
    sent = await engine.load()
    assert sent.refused == {"429": len(engine.texts) // 2}
    assert sent.answered == len(engine.texts)


async def test_requests_that_are_in_no_book_break_the_load_off():
    with pytest.raises(RuntimeError, match="the end of 1 is known"):
        await Engine(forgetful=True).load(seconds=0.2)


async def test_an_engine_that_is_gone_is_counted_too():
    async def none():
        return 0

    sent = await keep_busy(
        "http://127.0.0.1:9",
        "key",
        none,
        at_once=1,
        look_every=0.01,
        seconds=0.05,
        label="test",
        order=one_time_password,
    )
    assert not sent.due
    assert sum(sent.refused.values()) >= 1
