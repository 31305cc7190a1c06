"""Several carriers: which of them carries a message, and what happens when one goes."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from adapters.smpp import pool as pools
from adapters.smpp.carriers.carrier import CarrierState, Order
from adapters.smpp.carriers.mesh import Mesh, UnknownCarrier
from adapters.smpp.store.journal import PartState
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from domain.message import Category
from tests.unit.smpp_pool.conftest import config_for
from tests.waiting import eventually

TAKEN, BUSY = SubmissionState.TAKEN, SubmissionState.BUSY


@pytest.fixture
async def mesh():
    """Makes a mesh of carriers that nobody answers: `mesh(name={…}, …)`."""
    made = []

    def make(**configs):
        made.append(Mesh(lambda name: None))
        for name, config in configs.items():
            made[-1].add(config_for(1, name=name, **config), Order.DRAINED)
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def two(smsc, pool):
    """A pool with two carriers, `carrier` and `other`, and their SMSCs."""

    async def start(first=None, second=None, **options):
        simulators = [await smsc(**options), await smsc(**options)]
        other = config_for(simulators[1].port, name="other", **(second or {}))
        hermes = await pool(simulators[0], more=[other], **(first or {}))
        await eventually(lambda: all(c.bound for c in hermes.binds.mesh.carriers))
        return hermes, *simulators

    return start


# Routes

PREFIXES = {
    "any": {},
    "nordic": {"prefixes": ("45", "46", "47")},
    "denmark": {"prefixes": ("45",)},
    "mobile": {"prefixes": ("4520", "+4530")},
    "fallback": {},
}
ROUTES = [
    # provider, destination, candidates in order
    (None, "+4520100000", "mobile nordic denmark any fallback"),
    (None, "4530100000", "mobile nordic denmark any fallback"),
    (None, "+4570101010", "nordic denmark any fallback"),
    (None, "+46700000000", "nordic any fallback"),
    (None, "+14155550100", "any fallback"),
    ("fallback", "+4520100000", "fallback"),
    ("denmark", "+14155550100", "denmark"),
    ("unknown", "+4520100000", ""),
]


@pytest.mark.parametrize(("provider", "destination", "names"), ROUTES)
async def test_candidates(mesh, provider, destination, names):
    found = mesh(**PREFIXES).candidates(provider, destination)
    assert [carrier.name for carrier in found] == names.split()


@pytest.mark.parametrize(
    ("prefixes", "destination", "found"),
    [((), "+1", True), (("45",), "+4520100000", True), (("45",), "+46", False)],
)
async def test_the_prefixes_of_an_only_carrier_count_too(mesh, prefixes, destination, found):
    assert bool(mesh(only={"prefixes": prefixes}).candidates(None, destination)) is found


async def test_carriers_by_name(mesh):
    carriers = mesh(a={}, b={})
    assert [carrier.name for carrier in carriers.carriers] == ["a", "b"]
    assert carriers.get("b").name == "b"
    with pytest.raises(UnknownCarrier, match="c"):
        carriers.get("c")
    with pytest.raises(ValueError, match="a carrier a already"):
        carriers.add(config_for(1, name="a"))
    await carriers.remove("a")
    assert [carrier.name for carrier in carriers.carriers] == ["b"]
    with pytest.raises(UnknownCarrier):
        await carriers.remove("a")


async def test_change_is_told_to_all_who_wait_and_missed_by_none(smsc, mesh):
    simulator = await smsc()
    carriers = mesh()
    assert not await carriers.change(0.01)
    waiting = [asyncio.ensure_future(carriers.change(5)) for _ in range(3)]
    # They wait before it can be bound: their first step comes before its dial.
    carriers.add(config_for(simulator.port))
    assert await asyncio.gather(*waiting) == [True] * 3
    assert carriers.get("carrier").state is CarrierState.UP
    assert not await carriers.change(0.01)


# Through the pool


async def test_the_longest_prefix_chooses_the_carrier(two, request_for):
    hermes, wide, narrow = await two({"prefixes": ("45",)}, {"prefixes": ("4520",)})
    numbers = ["+4520100000", "+4570101010", "+4520200000"]
    for n, number in enumerate(numbers):
        answer = await hermes.deliver(request_for(number, message=f"msg_{n}"))
        assert answer.provider == ("other" if number.startswith("+4520") else "carrier")
    assert (len(wide.submits), len(narrow.submits)) == (1, 2)


async def test_no_carrier_for_the_number(two, request_for):
    hermes, *_ = await two({"prefixes": ("45",)}, {"prefixes": ("46",)})
    answer = await hermes.deliver(request_for("+14155550100"))
    assert answer.failure.code is FailureCode.NOT_SUPPORTED


async def test_a_provider_that_is_named_is_the_only_one(two, request_for):
    hermes, _, second = await two(second={"prefixes": ("1",)})
    answer = await hermes.deliver(request_for(provider="other"))
    assert (answer.state, answer.provider) == (TAKEN, "other")
    await second.change({"accept_binds": False})
    await eventually(lambda: not hermes.binds.mesh.get("other").bound)
    answer = await hermes.deliver(request_for(message="msg_2", provider="other"))
    assert (answer.state, answer.provider) == (BUSY, "other")
    assert answer.failure.code is FailureCode.PROVIDER_UNAVAILABLE


async def test_a_full_carrier_overflows_to_the_next(two, request_for):
    hermes, first, second = await two({"window": 1}, response_delay=0.05)
    answers = await asyncio.gather(
        *(hermes.deliver(request_for(message=f"msg_{n}")) for n in range(10))
    )
    assert {answer.state for answer in answers} == {TAKEN}
    assert len(second.submits) >= 5
    assert len(first.submits) >= 1


async def test_who_waits_for_a_carrier_that_goes_moves_to_the_other_at_once(two, request_for):
    hermes, first, second = await two(
        {"window": 1, "response_timeout": 30}, {"prefixes": ("46",)}, response_delay=30
    )
    await second.change({"response_delay": 0})
    held = [
        asyncio.ensure_future(hermes.deliver(request_for(message=f"held_{n}"))) for n in range(2)
    ]
    await eventually(lambda: first.stats()["peak_in_flight"] == 1)
    other = hermes.binds.mesh.get("other")
    other.configure(other.config.model_copy(update={"prefixes": ()}))
    await other.suspend()
    waiting = [
        asyncio.ensure_future(hermes.deliver(request_for(message=f"msg_{n}"))) for n in range(5)
    ]
    await eventually(lambda: hermes.carrier.queued >= 5)
    await other.resume()
    began = time.monotonic()
    await first.change({"accept_binds": False})
    answers = await asyncio.gather(*waiting)
    assert time.monotonic() - began < 1
    assert {(answer.state, answer.provider) for answer in answers} == {(TAKEN, "other")}
    states = Counter(answer.state for answer in await asyncio.gather(*held))
    assert states[SubmissionState.UNKNOWN] == 1


async def test_traffic_moves_and_comes_back_when_the_carrier_heals(two, request_for):
    hermes, first, second = await two()

    async def carried_by(message):
        return (await hermes.deliver(request_for(message=message))).provider

    assert await carried_by("msg_1") == "carrier"
    await first.change({"accept_binds": False})
    await eventually(lambda: not hermes.carrier.bound)
    assert await carried_by("msg_2") == "other"
    await first.change({"accept_binds": True})
    await eventually(lambda: hermes.carrier.bound)
    assert await carried_by("msg_3") == "carrier"
    assert (len(first.submits), len(second.submits)) == (2, 1)


@pytest.mark.parametrize("order", ["suspend", "drain"])
async def test_an_operator_takes_a_carrier_out_and_puts_it_back(two, request_for, order):
    hermes, *_ = await two()
    await getattr(hermes.carrier, order)()
    assert (await hermes.deliver(request_for(message="msg_1"))).provider == "other"
    await hermes.carrier.resume()
    await eventually(lambda: hermes.carrier.usable)
    assert (await hermes.deliver(request_for(message="msg_2"))).provider == "carrier"


async def test_all_are_gone_for_a_moment(smsc, pool, request_for):
    """A request waits for the rebind, and is not turned away."""
    simulator = await smsc()
    hermes = await pool(simulator)
    await simulator.change({"accept_binds": False})
    await eventually(lambda: not hermes.bound)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await simulator.change({"accept_binds": True})
    assert (await delivering).state is TAKEN


async def test_all_are_gone_for_long(two, request_for, monkeypatch):
    monkeypatch.setattr(pools, "REBIND_PATIENCE", 0.05)
    hermes, *simulators = await two()
    for simulator in simulators:
        await simulator.change({"accept_binds": False})
    await eventually(lambda: not any(c.bound for c in hermes.binds.mesh.carriers))
    answer = await hermes.deliver(request_for())
    assert answer.state is BUSY
    assert answer.failure.code is FailureCode.PROVIDER_UNAVAILABLE
    assert "carrier: " in answer.failure.detail
    assert "other: " in answer.failure.detail


async def test_a_carrier_that_is_added_and_one_that_is_removed(smsc, pool, request_for):
    hermes = await pool(await smsc())
    added = await smsc()
    mesh = hermes.binds.mesh
    carrier = mesh.add(config_for(added.port, name="added", prefixes=("4520",)))
    await eventually(lambda: carrier.usable)
    assert (await hermes.deliver(request_for(message="msg_1"))).provider == "added"
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])
    await mesh.remove("added")
    assert (await hermes.deliver(request_for(message="msg_2"))).provider == "carrier"
    await eventually(lambda: added.stats()["connections"] == 0)


async def test_otps_do_not_wait_behind_bulk(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.01)
    hermes = await pool(simulator, window=1, response_timeout=5)
    bulk = [
        asyncio.ensure_future(
            hermes.deliver(request_for(message=f"bulk_{n}", category=Category.MARKETING))
        )
        for n in range(60)
    ]
    await eventually(lambda: hermes.carrier.queued > 50)
    answer = await hermes.deliver(request_for(message="otp", category=Category.OTP))
    assert answer.state is TAKEN
    assert len(simulator.submits) < 15
    await asyncio.gather(*bulk)


async def test_a_tenant_with_one_message_does_not_wait_for_anothers_thousands(
    smsc, pool, request_for
):
    simulator = await smsc(response_delay=0.005)
    hermes = await pool(simulator, window=1, response_timeout=5)
    bulk = [
        asyncio.ensure_future(hermes.deliver(request_for(message=f"bulk_{n}"))) for n in range(100)
    ]
    await eventually(lambda: hermes.carrier.queued > 90)
    answer = await hermes.deliver(request_for(message="one", tenant="small"))
    assert answer.state is TAKEN
    assert len(simulator.submits) < 20
    await asyncio.gather(*bulk)


async def test_throttled_parts_are_sent_again_on_the_same_carrier(two, request_for):
    hermes, first, second = await two(throttle_count=2)
    answer = await hermes.deliver(request_for("+4520109906", text="x" * 400))
    assert (answer.state, answer.provider, answer.segments) == (TAKEN, "carrier", 3)
    taken = Counter(submit.part.number for submit in first.submits if submit.message_id)
    assert taken == {1: 1, 2: 1, 3: 1}
    assert len(second.submits) == 0


async def test_a_late_response_brings_the_id_that_the_receipt_names(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.15, receipt_delay=0.05)
    hermes = await pool(simulator, response_timeout=0.05)
    answer = await hermes.deliver(request_for())
    assert answer.state is SubmissionState.UNKNOWN
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])
    [part] = await hermes.journal.parts_of("msg_1", 1)
    assert (part.state, part.smsc_id) == (PartState.ACCEPTED, simulator.submits[0].message_id)
    assert len(simulator.submits) == 1
    assert hermes.carrier.health().connections[0].in_flight == 0


async def test_a_late_refusal_is_written_down(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.15)
    hermes = await pool(simulator, response_timeout=0.05)
    first = await hermes.deliver(request_for("+4520109905"))
    assert first.state is SubmissionState.UNKNOWN

    async def refused():
        [part] = await hermes.journal.parts_of("msg_1", 1)
        return part.state is PartState.REFUSED

    await eventually(refused)
    again = await hermes.deliver(request_for("+4520109905"))
    assert again.failure.code is FailureCode.RECIPIENT_INVALID
    assert len(simulator.submits) == 1


async def test_a_pair_of_binds_serves_the_pool(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator, bind="transmitter+receiver", binds=2)
    await asyncio.gather(*(hermes.deliver(request_for(message=f"msg_{n}")) for n in range(20)))
    await eventually(lambda: len(hermes.sink.resolved) == 20)


async def test_ids_as_the_carrier_writes_them(smsc, pool, request_for):
    simulator = await smsc()
    await simulator.change({"id_format": "hex:padded:30"})
    hermes = await pool(simulator, ids={"response": "hex", "receipt": "decimal"})
    await hermes.deliver(request_for())
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])


async def test_what_no_carrier_takes_in_time_is_busy_and_told_when_to_come_back(
    smsc, pool, request_for, monkeypatch
):
    monkeypatch.setattr(pools, "HELD", 10)
    simulator = await smsc(response_delay=0.2)
    hermes = await pool(simulator, window=1, response_timeout=5)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    answers = await asyncio.gather(
        *(hermes.deliver(request_for(message=f"msg_{n}", not_after=soon)) for n in range(40))
    )
    busy = [answer for answer in answers if answer.state is BUSY]
    assert len(busy) >= 30
    assert {answer.failure.code for answer in busy} == {FailureCode.PROVIDER_THROTTLED}
    waits = [answer.retry_after for answer in busy]
    assert min(waits) >= 0.5
    assert len(set(waits)) > len(waits) / 2
    [queue] = hermes.binds.queues()
    assert (queue.tenant, queue.waiting) == ("acme", len(busy))
