"""One explanation of two processes' knowledge."""

import asyncio
import contextlib

import msgspec
import pytest
import uvicorn

from adapters.routing.explainer import PATH, Explainer
from domain.routing.choice import Why
from domain.routing.explanation import (
    Asked,
    ExplainedCandidate,
    ExplainedRoute,
    Explanation,
    merged,
)
from domain.routing.routes import Kind
from domain.routing.table import LeftOut
from tests.unit.routing.test_providers import TWILIO, World
from tests.waiting import eventually

ASKED = Asked("acme", "sms", "+4520123456", draw=7)


def candidate(route, kind=Kind.CARRIER, *, up=True, why=Why.FIRST):
    return ExplainedCandidate(
        route, kind, route, why, up, None, None, None, None, 0.9, 5.0, 0.0, 0.9, 50, 100, 0,
        False, False,
    )  # fmt: skip


def explanation(*candidates, left_out=()):
    chosen = next((one.route for one in candidates if one.up), None)
    return Explanation("least-cost", chosen, list(candidates), list(left_out))


class Pool:
    """A bind pool that says what it is told to."""

    def __init__(self, answer, status=200):
        self.answer, self.status, self.asked = answer, status, []

    async def app(self, scope, receive, send):
        body = (await receive())["body"]
        headers = {name.decode(): text.decode() for name, text in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers["authorization"], body))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": msgspec.json.encode(self.answer)})


@contextlib.asynccontextmanager
async def served(pool):
    server = uvicorn.Server(
        uvicorn.Config(pool.app, port=0, log_level="error", lifespan="off", interface="asgi3")
    )
    serving = asyncio.ensure_future(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


def test_carriers_stand_where_the_first_of_them_stood():
    ours = explanation(candidate("t", Kind.ADAPTER), candidate("a"), candidate("u", Kind.ADAPTER))
    theirs = explanation(candidate("b"), candidate("a"))
    found = merged(ours, theirs)
    assert [one.route for one in found.candidates] == ["t", "b", "a", "u"]
    assert found.chosen == "t"


@pytest.mark.parametrize(
    ("ours", "theirs", "whys"),
    [
        (("t sound", "a poor"), ("a only",), ["sound", "poor"]),
        (("a priority", "t later"), ("a only",), ["priority", "later"]),
        (("t sound", "a poor"), ("b cheapest", "a dearer"), ["sound", "poor", "dearer"]),
        (("a priority", "t later"), ("b cheapest", "a dearer"), ["cheapest", "dearer", "later"]),
        (("a only",), ("a only",), ["only"]),
    ],
)
def test_a_carrier_is_not_the_only_one_beside_an_adapter(ours, theirs, whys):
    def told(*said):
        parts = [one.split() for one in said]
        kinds = {"t": Kind.ADAPTER}
        return explanation(
            *(candidate(name, kinds.get(name, Kind.CARRIER), why=Why(why)) for name, why in parts)
        )

    found = merged(told(*ours), told(*theirs))
    assert [one.why.value for one in found.candidates] == whys


def test_who_knows_the_carriers_says_which_are_left_out():
    carrier = ExplainedRoute("c", Kind.CARRIER, "c", LeftOut.DISABLED)
    stale = ExplainedRoute("d", Kind.CARRIER, "d", LeftOut.UNKNOWN_PROVIDER)
    adapter = ExplainedRoute("t", Kind.ADAPTER, "t", LeftOut.DISABLED)
    found = merged(
        explanation(left_out=[stale, adapter]), explanation(candidate("d"), left_out=[carrier])
    )
    assert found.left_out == [adapter, carrier]
    assert found.chosen == "d"


async def test_a_pool_is_asked_about_carriers():
    pool = Pool(explanation(candidate("b"), candidate("telia", up=False)))
    async with served(pool) as url:
        explainer = Explainer(World(**TWILIO).router, [url], "the-key")
        found = await explainer.explain(ASKED)
        await explainer.close()
    assert [one.route for one in found.candidates] == ["b", "telia", "twilio"]
    [(method, path, key, body)] = pool.asked
    assert (method, path, key) == ("POST", PATH, "Bearer the-key")
    assert msgspec.json.decode(body, type=Asked) == ASKED


async def test_without_a_pool_that_answers_it_is_as_it_was_last_known():
    world = World(**TWILIO)
    async with served(Pool({"no": "explanation"})) as odd, served(Pool({}, 500)) as broken:
        explainer = Explainer(world.router, ["http://127.0.0.1:9", odd, broken], "the-key")
        found = await explainer.explain(ASKED)
        await explainer.close()
    assert found == world.router.explain(ASKED)


async def test_other_channels_are_nobody_elses_business():
    pool = Pool(explanation())
    async with served(pool) as url:
        explainer = Explainer(World(sendgrid=("email", 10)).router, [url], "the-key")
        found = await explainer.explain(Asked("acme", "email", "a@example.com"))
        await explainer.close()
    assert [one.route for one in found.candidates] == ["sendgrid", "email"]
    assert pool.asked == []
