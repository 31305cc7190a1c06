"""429 before a queue outlives its limit, and only for those whom it concerns."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from domain.message import Category, MessageOrder
from domain.providers import OWN
from handlers.api.app import create_app
from handlers.api.services import OwnServices
from handlers.pipeline.draft import Draft
from handlers.pipeline.layers import in_order
from handlers.pipeline.pipeline import Pipeline
from tests.fakes import FakeClock, FakeEngine, FakeKeys, FakeLog
from tests.unit.api.conftest import ALICE, BOB, MESSAGE, World


class FakePressure:
    """When to ask again, by (tenant, channel, category), and whose queue is too long already; what
    it was told of."""

    def __init__(self) -> None:
        self.waits: dict[tuple[str, str | None, Category], float] = {}
        self.too_long: dict[tuple[str, str | None, Category], float] = {}
        self.admitted: list[tuple[str, str | None]] = []
        self.told: list[tuple[str, str | None, bool]] = []
        self.down: str | None = None

    def excess(self, tenant: str, queue: str | None, category: Category) -> float:
        return self.too_long.get((tenant, queue, category), 0.0)

    async def admit(self, tenant: str, queue: str | None, category: Category) -> float:
        wait = self.waits.get((tenant, queue, category), 0.0)
        if not wait:
            self.admitted.append((tenant, queue))
        return wait

    def standstill(self, channel: str) -> str | None:
        return self.down

    def handed_over(self, tenant: str, queue: str | None, *, there: bool) -> None:
        self.told.append((tenant, queue, there))


@pytest.fixture
def pressure():
    return FakePressure()


@pytest.fixture
async def world(pressure):
    keys = FakeKeys({ALICE: "alice", BOB: "bob"})
    log, engine, clock = FakeLog(), FakeEngine(), FakeClock()
    app = create_app(keys, log, engine, clock=clock, pressure=pressure)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield World(app, keys, log, engine, clock, client)


class Chosen:
    """Every step may take these."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...]:
        return self._names


@pytest.mark.parametrize(
    ("chosen", "queues"),
    [((), True), ((OWN, "twilio"), True), (("twilio", OWN), False), (("twilio",), False)],
)
async def test_only_what_waits_for_a_carrier_first_is_asked(pressure, chosen, queues):
    pressure.waits["alice", "sms", Category.TRANSACTIONAL] = 5.0
    app = create_app(
        FakeKeys({ALICE: "alice"}),
        FakeLog(),
        FakeEngine(),
        pressure=pressure,
        providers=Chosen(*chosen),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://hermes.example"
    ) as client:
        headers = {"Authorization": f"Bearer {ALICE}"}
        answer = await client.post("/v1/messages", json=MESSAGE, headers=headers)
    assert answer.status_code == (429 if queues else 202)
    assert pressure.told == ([] if queues else [("alice", None, True)])


@pytest.mark.parametrize("chosen", [("twilio",), ()])
@pytest.mark.parametrize("early", [True, False])
async def test_what_waits_for_no_carrier_is_refused_when_all_is_behind(pressure, chosen, early):
    refusals = pressure.too_long if early else pressure.waits
    refusals["alice", None if chosen else "sms", Category.TRANSACTIONAL] = 2.0
    app = create_app(
        FakeKeys({ALICE: "alice"}),
        FakeLog(),
        FakeEngine(),
        pressure=pressure,
        providers=Chosen(*chosen),
    )
    # Of those that may go past the carriers, it is asked for the queue first.
    pressure.too_long.setdefault(("alice", "sms", Category.TRANSACTIONAL), 1.0)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://hermes.example"
    ) as client:
        headers = {"Authorization": f"Bearer {ALICE}"}
        answer = await client.post("/v1/messages", json=MESSAGE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")


@pytest.mark.parametrize(
    ("wait", "retry_after"), [(0.5, "1"), (4.2, "5"), (500.0, "60"), (math.inf, "60")]
)
async def test_a_queue_beyond_its_limit_takes_no_more(world, pressure, wait, retry_after):
    pressure.waits["alice", "sms", Category.TRANSACTIONAL] = wait
    answer = await world.post()
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert answer.headers["retry-after"] == retry_after
    assert world.nothing_happened()
    assert pressure.told == []


async def test_where_no_carrier_takes_anything_that_is_the_reason(world, pressure):
    pressure.down = "telia is drained"
    assert (await world.post()).status_code == 202
    pressure.waits["alice", "sms", Category.TRANSACTIONAL] = math.inf
    answer = await world.post()
    assert (answer.status_code, answer.json()["code"]) == (429, "carriers_down")
    assert "telia is drained" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "60"


async def test_a_queue_within_its_limit_takes_more_and_is_told(world, pressure):
    assert (await world.post()).status_code == 202
    assert pressure.told == [("alice", "sms", True)]


async def test_what_restate_did_not_take_is_told(world, pressure):
    world.engine.down = True
    assert (await world.post()).status_code == 503
    assert pressure.told == [("alice", "sms", False)]


@pytest.mark.parametrize("sent", [{"send_at": "2026-05-02T12:00:00Z"}, {}])
async def test_each_that_is_admitted_is_told_of(world, pressure, sent):
    """And no other: not one that is due later."""
    assert (await world.post({**MESSAGE, **sent})).status_code == 202
    assert [(tenant, queue) for tenant, queue, _ in pressure.told] == pressure.admitted
    assert len(pressure.told) == (0 if sent else 1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"category": "otp"}, ALICE),
        ({}, BOB),
        ({"to": {"email": "a@example.com"}, "content": {"text": "x", "subject": "y"}}, ALICE),
    ],
    ids=["a more urgent category", "another tenant", "another channel"],
)
async def test_others_are_not_concerned(world, pressure, changes: dict[str, Any], key):
    pressure.waits["alice", "sms", Category.TRANSACTIONAL] = math.inf
    assert (await world.post({**MESSAGE, **changes}, key=key)).status_code == 202


async def test_a_repeated_request_gets_its_first_answer_whatever_waits_now(world, pressure):
    headers = {"Idempotency-Key": "once"}
    first = await world.post(headers=headers)
    pressure.waits["alice", "sms", Category.TRANSACTIONAL] = math.inf
    again = await world.post(headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert len(pressure.told) == 1


async def test_each_message_of_a_batch_is_asked_for_itself(world, pressure):
    pressure.waits["alice", "sms", Category.MARKETING] = math.inf
    answer = await world.batch([MESSAGE, {**MESSAGE, "category": "marketing"}])
    [taken, refused] = answer.json()["results"]
    assert taken["message"]["id"]
    assert refused["problem"]["code"] == "queue_full"


class Layers(Pipeline):
    """Counts what is asked of it."""

    def __init__(self, providers: Chosen | OwnServices) -> None:
        self._inner = in_order(providers=providers)
        self.asked = 0

    async def admit(self, draft: Draft) -> MessageOrder:
        self.asked += 1
        return await self._inner.admit(draft)

    def give_back(self, draft: Draft) -> None:
        self._inner.give_back(draft)


_TWO = {"to": {"sms": "+4520123456", "email": "a@example.com"}, "content": {"text": "x"}}
_BY_NAME = {**MESSAGE, "plan": [{"channel": "sms", "provider": "twilio"}]}
_SMS_FIRST = {**_TWO, "plan": [{"channel": "sms", "timeout": 60}, {"channel": "email"}]}


@pytest.mark.parametrize(
    ("message", "chosen", "asked"),
    [
        (MESSAGE, OwnServices(), 0),
        (_SMS_FIRST, OwnServices(), 0),
        ({**MESSAGE, "category": "otp"}, OwnServices(), 1),
        ({**MESSAGE, "send_at": "2030-01-01T00:00:00Z"}, OwnServices(), 1),
        (_TWO, OwnServices(), 1),
        (MESSAGE, Chosen("twilio"), 1),
        (MESSAGE, Chosen(OWN, "twilio"), 1),
        (_BY_NAME, Chosen("twilio"), 1),
    ],
    ids=[
        "one channel",
        "the first of a plan",
        "a more urgent category",
        "for later",
        "channels in no order",
        "an adapter's",
        "an adapter beside",
        "by name",
    ],
)
async def test_the_layers_are_spared_what_has_no_room_for_sure(pressure, message, chosen, asked):
    key = ("alice", "sms", Category.TRANSACTIONAL)
    pressure.too_long[key] = pressure.waits[key] = 4.2
    layers = Layers(chosen)
    app = create_app(
        FakeKeys({ALICE: "alice"}),
        FakeLog(),
        FakeEngine(),
        pressure=pressure,
        providers=chosen,
        pipeline=layers,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://hermes.example"
    ) as client:
        headers = {"Authorization": f"Bearer {ALICE}"}
        answer = await client.post("/v1/messages", json=message, headers=headers)
    assert layers.asked == asked
    if not asked:
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
        assert answer.headers["retry-after"] == "5"


async def test_a_repeated_request_gets_its_first_answer_before_the_queue_is_looked_at(
    world, pressure
):
    headers = {"Idempotency-Key": "once"}
    first = await world.post(headers=headers)
    pressure.too_long["alice", "sms", Category.TRANSACTIONAL] = math.inf
    again = await world.post(headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (await world.post(headers={"Idempotency-Key": "twice"})).status_code == 429
