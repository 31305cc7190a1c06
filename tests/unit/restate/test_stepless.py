"""Handlers without durable steps, called by a real restate-server over HTTP/1.1."""

import asyncio
import contextlib

import httpx
import pytest
import restate
from restate import Service, TerminalError
from restate._preview import explicit_recovery

from adapters.restate.stepless import stepless
from tests.restate_server import running_restate, served

KEY = "publickeyv1_ChjENKeMvCtRnqG2mrBK1HmPKufgFUc98K8B3ononQvp"
tries: dict[str, int] = {}


def plain() -> Service:
    service = explicit_recovery(Service("Plain"))

    @service.handler()
    async def echo(ctx, text: str) -> str:
        return text + "!"

    @service.handler()
    async def nothing(ctx) -> None:
        """Neither an input nor an answer."""

    @service.handler()
    async def refuse(ctx, text: str) -> str:
        raise TerminalError(f"no {text}", status_code=409)

    @service.handler()
    async def thrice(ctx, text: str) -> int:
        tries[text] = tries.get(text, 0) + 1
        if tries[text] < 3:
            raise RuntimeError("not yet")
        return tries[text]

    @service.handler()
    async def steps(ctx, text: str) -> str:
        try:
            await ctx.sleep(1)
        except RuntimeError as error:
            raise TerminalError(str(error)) from error
        return "slept"

    return service


@contextlib.asynccontextmanager
async def application(keys=()):
    services = [plain()]
    yield stepless(restate.app(services, identity_keys=list(keys)), services, keys)


@pytest.fixture(scope="module")
def ingress(tmp_path_factory):
    directory = tmp_path_factory.mktemp("restate")
    with (
        served(application) as endpoint,
        running_restate(directory, inactivity_timeout="1m") as server,
    ):
        server.register(endpoint, http="1.1")
        yield server.ingress


def call(ingress, handler, **body):
    return httpx.post(f"{ingress}/Plain/{handler}", timeout=30, **body)


def test_input_and_answer_go_through_the_serdes(ingress):
    answer = call(ingress, "echo", json="hällo " + "x" * 300_000)
    assert answer.json() == "hällo " + "x" * 300_000 + "!"


def test_neither_input_nor_answer(ingress):
    answer = call(ingress, "nothing")
    assert (answer.status_code, answer.content) == (200, b"")


def test_terminal_error_ends_the_call(ingress):
    answer = call(ingress, "refuse", json="thanks")
    assert (answer.status_code, answer.json()["message"]) == (409, "no thanks")


def test_other_errors_are_repeated(ingress):
    assert call(ingress, "thrice", json="a").json() == 3


def test_a_durable_step_is_a_mistake(ingress):
    answer = call(ingress, "steps", json="a")
    assert answer.status_code == 500
    assert "used the context: sleep" in answer.json()["message"]


def test_hundreds_at_once(ingress):
    async def all_of_them():
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            calls = [client.post(f"{ingress}/Plain/echo", json=str(n)) for n in range(400)]
            return [answer.json() for answer in await asyncio.gather(*calls)]

    assert asyncio.run(all_of_them()) == [f"{n}!" for n in range(400)]


def test_callers_without_a_signature_are_refused():
    with served(lambda: application([KEY])) as endpoint:
        content_type = {"content-type": "application/vnd.restate.invocation.v6"}
        answer = httpx.post(f"{endpoint}/invoke/Plain/echo", headers=content_type, content=b"")
        assert (answer.status_code, answer.content) == (401, b"")


def test_a_protocol_that_nobody_speaks_is_refused():
    with served(application) as endpoint:
        content_type = {"content-type": "application/vnd.restate.invocation.v999"}
        answer = httpx.post(f"{endpoint}/invoke/Plain/echo", headers=content_type, content=b"")
        assert answer.status_code == 415


def test_a_service_that_replays_is_refused():
    service = Service("Replays")

    @service.handler()
    async def one(ctx) -> None: ...

    with pytest.raises(ValueError, match="Replays/one"):
        stepless(restate.app([service]), [service], ())
