"""A whole call: what the guest asks for, what it is answered, and where it ends."""

import asyncio

import msgspec
import pytest

from adapters.wasm.contract import Answer, HttpError, HttpRequest, HttpResponse, SendResult
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, Instance, drive
from tests.unit.wasm.puppet import GET, OK, POST, Scripted, message, new_call, script

SENT = msgspec.json.Decoder(Answer[SendResult])
ANYTHING = msgspec.json.Decoder(Answer[list[dict]])
CREATED = HttpResponse(201, (("content-type", "text/plain"),), "é")
RESET = HttpError("reset", "it hung up", maybe_sent=True)


@pytest.fixture
def play(linker, program, sink):
    async def play(text, http, *, decoder=SENT, limits=None, exchanges=None, ask=None):
        limits = limits or Limits()
        call = new_call(sink, limits=limits)
        instance = Instance(linker, program, limits, call)
        exchanges = [] if exchanges is None else exchanges
        return await drive(
            instance, call, "on-message", message(text), decoder, http, exchanges, ask
        )

    return play


async def test_a_request_is_made_and_its_answer_handed_over(play):
    http, exchanges = Scripted([CREATED, RESET]), []
    text = script(POST, GET, '{"done": $HEARD}')
    heard = await play(text, http, decoder=ANYTHING, exchanges=exchanges)
    assert heard == [
        {"status": 201, "headers": [["content-type", "text/plain"]], "body": "é"},
        {"error": {"kind": "reset", "message": "it hung up", "maybe_sent": True}},
    ]
    assert [each.method for each in http.requests] == ["POST", "GET"]
    assert [each.answer for each in exchanges] == [CREATED, RESET]


async def test_without_a_request_there_is_none(play):
    http = Scripted([CREATED])
    assert (await play(script(OK), http)).ok
    assert http.requests == []


async def test_a_guest_that_asks_without_end_is_stopped(play):
    http = Scripted([CREATED])
    with pytest.raises(AdapterFailed, match="more than 4 requests") as failed:
        await play(script(*[POST] * 50), http)
    assert failed.value.kind == "requests"
    # The fifth is for the port to refuse; after that nobody is asked any more.
    assert len(http.requests) == 5


async def test_a_guest_may_use_its_last_request(play):
    http = Scripted([CREATED])
    assert (await play(script(*[POST] * 4, OK), http)).ok
    assert len(http.requests) == 4


async def test_a_fault_after_the_answer_leaves_the_exchange_known(play):
    exchanges = []
    with pytest.raises(AdapterFailed):
        await play(script(POST, "nonsense"), Scripted([CREATED]), exchanges=exchanges)
    assert [each.answer for each in exchanges] == [CREATED]


async def test_a_call_that_is_broken_off_leaves_its_request_in_doubt(play):
    class Silent:
        def __init__(self):
            self.asked = asyncio.Event()

        async def send(self, request: HttpRequest) -> HttpResponse:
            self.asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    http, exchanges = Silent(), []
    task = asyncio.create_task(play(script(POST, OK), http, exchanges=exchanges))
    await http.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.in_doubt for each in exchanges] == [True]


DOUBT = [
    (POST, RESET, True),
    (POST, HttpError("dns", "", maybe_sent=False), False),
    (GET, RESET, False),
    (POST, CREATED, False),
    (POST, HttpResponse(500), False),
]


@pytest.mark.parametrize(("asks", "answer", "in_doubt"), DOUBT)
async def test_what_may_have_been_done(play, asks, answer, in_doubt):
    exchanges = []
    await play(script(asks, OK), Scripted([answer]), exchanges=exchanges)
    assert [each.in_doubt for each in exchanges] == [in_doubt]


async def test_a_guest_runs_where_it_is_told(play):
    ran = []

    async def elsewhere(instance, call, export, payload, decoder):
        ran.append(export)
        return await asyncio.to_thread(instance.ask, call, export, payload, decoder)

    assert (await play(script(POST, OK), Scripted([CREATED]), ask=elsewhere)).ok
    assert ran == ["on-message", "on-http-response"]
