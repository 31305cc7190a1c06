"""A delivery's time is up: what still leaves, and who hears of it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from adapters.wasm.contract import HttpError, HttpRequest, HttpResponse
from adapters.wasm.runtime import timely
from adapters.wasm.runtime.timely import Timely, TooLate
from tests.unit.wasm.puppet import Scripted

NOW = datetime(2030, 1, 1, tzinfo=UTC)
URL = "https://api.example.com/"
CREATED = HttpResponse(201)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(timely, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def made(*answers, seconds=0.5):
    http = Scripted(list(answers))
    return Timely(http, NOW + timedelta(seconds=seconds), NOW), http


@pytest.mark.parametrize(("asked", "given"), [(None, 500), (200, 200), (500, 500), (9_000, 500)])
async def test_a_request_has_no_more_than_what_is_left(clock, asked, given):
    port, http = made(CREATED)
    assert await port.send(HttpRequest("POST", URL, timeout_ms=asked)) == CREATED
    assert http.requests == [HttpRequest("POST", URL, timeout_ms=given)]


SENT = [
    # the first request, its answer, whether the message may have been sent by it
    ("GET", CREATED, False),
    ("GET", HttpError("timeout", "", maybe_sent=True), False),
    ("POST", HttpError("dns", ""), False),
    ("POST", HttpError("timeout", "", maybe_sent=True), True),
    ("POST", HttpResponse(400), True),
    ("PUT", CREATED, True),
]


@pytest.mark.parametrize(("method", "said", "sent"), SENT)
async def test_after_the_time_nothing_leaves(clock, method, said, sent):
    port, http = made(said)
    await port.send(HttpRequest(method, URL))
    clock.now += 0.5
    if sent:
        error = await port.send(HttpRequest("POST", URL))
        assert (error.kind, error.maybe_sent) == ("timeout", False)
        # What became of it is the guest's to say.
        assert port.within(int)("7") == 7
    else:
        with pytest.raises(TooLate):
            await port.send(HttpRequest("POST", URL))
        with pytest.raises(TooLate):
            port.within(int)("7")
    assert len(http.requests) == 1


def test_a_function_in_time_is_called(clock):
    port, _ = made()
    late = port.within(int)
    assert late("7") == 7
    clock.now += 0.6
    with pytest.raises(TooLate):
        late("7")
