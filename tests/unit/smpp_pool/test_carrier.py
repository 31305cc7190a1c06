"""A carrier: who gets its window and rate, and what an operator can do to it while it runs."""

import asyncio
import dataclasses
import time
from collections import Counter

import pytest

from adapters.smpp.carriers import carrier as carriers
from adapters.smpp.carriers.carrier import CarrierState, Order, Unavailable
from adapters.smpp.carriers.connection import NotWritten
from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.session import CloseReason
from tests.unit.smpp_pool.conftest import SWIFT
from tests.waiting import eventually

OTP, ALERT, BULK = 0, 1, 2


def changed(account, **changes):
    """The account's configuration with some keys changed."""
    return account.carrier.config.model_copy(update=changes)


def held(connection):
    """A window, and one more that may wait for it."""
    return 2 * connection.window


# Leases


async def test_there_are_as_many_leases_as_there_is_room(carrier, account):
    link = await account(carrier, window=2)
    leases = [await link.lease() for _ in range(held(link.connections[0]))]
    with pytest.raises(Unavailable, match="window or the rate") as caught:
        await link.lease(patience=0.01)
    assert not caught.value.down
    leases.pop().give_back()
    leases.append(await link.lease(patience=0.01))
    for lease in leases:
        lease.give_back()
        lease.give_back()
    assert (await link.lease(4, patience=0.01)).connection.reserved == 4


async def test_leases_are_handed_out_in_order(carrier, account):
    link, order = await account(carrier, window=1), []
    held_ones = [await link.lease() for _ in range(2)]

    async def wait(name):
        lease = await link.lease()
        order.append(name)
        lease.give_back()

    async def give_back():
        held_ones.pop().give_back()
        await wait("latecomer")

    await asyncio.gather(wait(1), wait(2), wait(3), give_back())
    assert order == [1, 2, 3, "latecomer"]


async def test_the_lease_of_one_who_gave_up_goes_to_the_next(carrier, account):
    link = await account(carrier, window=1)
    first, second = await link.lease(), await link.lease()
    gone, here = asyncio.ensure_future(link.lease()), asyncio.ensure_future(link.lease())

    async def give_back():
        first.give_back()
        gone.cancel()  # in the same moment as its lease comes

    await asyncio.gather(give_back(), gone, return_exceptions=True)
    (await here).give_back()
    second.give_back()
    assert (await link.lease(2, patience=0.01)).connection.reserved == 2


async def test_who_gives_up_makes_room_for_one_that_needs_less(carrier, account):
    link = await account(carrier, window=2)
    taken = [await link.lease() for _ in range(3)]
    large = asyncio.ensure_future(link.lease(4, patience=0.05))
    await eventually(lambda: link.carrier.queued == 1)
    small = asyncio.ensure_future(link.lease(1, priority=1))
    with pytest.raises(Unavailable):
        await large
    async with asyncio.timeout(1):
        await small
    assert len(taken) == 3


async def test_who_waits_hears_at_once_that_the_link_has_gone(carrier, account):
    link = await account(carrier, window=1)
    for _ in range(2):
        await link.lease()
    waiting = asyncio.ensure_future(link.lease(patience=60))
    await eventually(lambda: link.carrier.queued == 1)
    carrier.refusal = CommandStatus.ESME_RBINDFAIL
    lost_at = time.monotonic()
    carrier.sessions[0].abort()
    with pytest.raises(Unavailable) as caught:
        await waiting
    assert caught.value.down
    assert time.monotonic() - lost_at < 1
    assert link.carrier.queued == 0


async def test_a_lease_from_before_a_rebind_is_good_after_it_and_none_in_between(carrier, account):
    link = await account(carrier, window=2)
    early, late = await link.lease(), await link.lease()
    carrier.refusal = CommandStatus.ESME_RBINDFAIL
    carrier.sessions[0].abort()
    await eventually(lambda: not link.carrier.bound)
    with pytest.raises(NotWritten):
        await link.use(early)
    carrier.refusal = 0
    await eventually(lambda: link.carrier.bound)
    sending = asyncio.ensure_future(link.use(late))
    await eventually(lambda: carrier.submits)
    carrier.answer("id")
    assert await sending == 0
    assert late.connection.reserved == 0


async def test_what_was_promised_the_window_and_lost_its_link_was_not_written(carrier, account):
    link = await account(carrier, window=1)
    sends = [asyncio.ensure_future(link.send()) for _ in range(2)]
    await eventually(lambda: len(carrier.submits) == 1)
    carrier.sessions[0].abort()
    written, waiting = await asyncio.gather(*sends, return_exceptions=True)
    assert (type(written).__name__, type(waiting)) == ("LinkLost", NotWritten)
    assert len(carrier.submits) == 1


async def test_a_message_with_more_parts_than_the_window_gets_the_whole_of_it(smsc, account):
    simulator = await smsc(response_delay=0.005)
    link = await account(simulator, window=2)
    await link.flood(5)
    lease = await link.lease(9)
    answers = await asyncio.gather(*(link.use(lease) for _ in range(9)))
    assert answers == [0] * 9
    assert simulator.stats()["peak_in_flight"] == 2


# Sharing


async def test_several_binds_share_the_work(smsc, account):
    simulator = await smsc(response_delay=0.01)
    link = await account(simulator, binds=4, window=5)
    assert await link.flood(400) == [0] * 400
    shares = [each.submits for each in simulator.record.links]
    assert len(shares) == 4
    assert min(shares) >= 0.8 * 100


async def test_the_other_binds_go_on_when_one_is_lost(smsc, account):
    simulator = await smsc(response_delay=0.01)
    link = await account(simulator, binds=3, window=5)
    flood = asyncio.ensure_future(link.flood(200))
    await eventually(lambda: simulator.counters.submits > 20)
    simulator.kill_links(1)
    answers = Counter(map(str, await flood))
    assert answers["0"] >= 190
    await eventually(lambda: all(c.bound for c in link.connections))
    assert sorted(c.binds for c in link.connections) == [1, 1, 2]


async def test_urgent_ones_overtake_what_waits(smsc, account):
    simulator = await smsc(response_delay=0.005)
    link = await account(simulator, window=1)
    bulk = asyncio.ensure_future(link.flood(50, priority=BULK))
    await eventually(lambda: link.carrier.queued > 40)
    alerts = asyncio.ensure_future(link.flood(2, priority=ALERT))
    await link.send(text=b"otp", priority=OTP)
    texts = [submit.text for submit in simulator.submits]
    assert len(texts) - texts.index("otp") == 1
    assert len(texts) <= 10
    await asyncio.gather(bulk, alerts)


async def test_no_urgent_one_waits_for_rate_behind_bulk(smsc, account):
    simulator = await smsc()
    link = await account(simulator, rate=50.0)
    bulk = asyncio.ensure_future(link.flood(60, priority=BULK))
    await eventually(lambda: link.carrier.queued > 40)
    began = time.monotonic()
    await link.send(priority=OTP)
    assert time.monotonic() - began < 0.5
    assert link.carrier.queued > 20
    await bulk


async def test_tenants_take_turns(smsc, account):
    simulator = await smsc(response_delay=0.005)
    link = await account(simulator, window=1)
    large = asyncio.ensure_future(link.flood(60, tenant="large"))
    await eventually(lambda: link.carrier.queued > 50)
    await link.flood(10, to="4520200000", tenant="small")
    first = [submit.destination for submit in simulator.submits[:30]]
    assert first.count("4520200000") == 10
    await large


async def test_a_tenant_whose_requests_timed_out_is_not_behind_the_others(smsc, account):
    simulator = await smsc(response_delay=0.3)
    link = await account(simulator, window=1)
    outcomes = await link.flood(100, tenant="unlucky", patience=0.05)
    assert sum(isinstance(outcome, Unavailable) for outcome in outcomes) >= 95
    await simulator.change({"response_delay": 0.005})
    simulator.reset()
    other = asyncio.ensure_future(link.flood(40, tenant="other"))
    await eventually(lambda: link.carrier.queued > 30)
    await link.flood(5, to="4520200000", tenant="unlucky")
    first = [submit.destination for submit in simulator.submits[:25]]
    assert first.count("4520200000") == 5
    await other


# Rate


@pytest.mark.parametrize(
    ("limits", "binds"), [({"rate": 200.0}, 2), ({"bind_rate": 100.0}, 2), ({"rate": 200.0}, 1)]
)
async def test_rates_hold_over_all_binds_and_on_each(smsc, account, limits, binds):
    simulator = await smsc()
    link = await account(simulator, binds=binds, **limits)
    began = time.monotonic()
    assert await link.flood(200) == [0] * 200
    took = time.monotonic() - began
    # A burst of a tenth of a second goes first.
    assert 0.85 <= took < 3
    assert len({each.submits for each in simulator.record.links}) <= 2


async def test_the_rate_changes_while_it_runs(smsc, account):
    simulator = await smsc()
    link = await account(simulator, rate=1.0)
    flood = asyncio.ensure_future(link.flood(50, patience=60))
    await eventually(lambda: link.carrier.queued == 49)
    link.carrier.configure(changed(link, rate=None))
    async with asyncio.timeout(1):
        assert await flood == [0] * 50
    assert link.connections[0].binds == 1
    link.carrier.configure(changed(link, rate=20.0))
    began = time.monotonic()
    await link.flood(12)
    assert time.monotonic() - began > 0.3


async def test_the_bind_rate_changes_while_it_runs(smsc, account):
    simulator = await smsc()
    link = await account(simulator, bind_rate=1.0)
    flood = asyncio.ensure_future(link.flood(50, patience=60))
    await eventually(lambda: link.carrier.queued == 49)
    link.carrier.configure(changed(link, bind_rate=10_000.0))
    async with asyncio.timeout(1):
        assert await flood == [0] * 50


@pytest.mark.alone
async def test_a_throttling_carrier_is_given_what_it_takes(smsc, account):
    simulator = await smsc(rate=200.0)
    link = await account(simulator, window=50)
    until = time.monotonic() + 4

    async def keep_sending():
        while time.monotonic() < until:
            await link.send()

    await asyncio.gather(*(keep_sending() for _ in range(100)))
    counters = simulator.counters
    assert counters.accepted >= 0.95 * 200 * 4
    assert counters.throttled <= 0.05 * counters.submits + 50
    health = link.carrier.health()
    assert (health.throttled, health.accepted) == (counters.throttled, counters.accepted)
    assert health.last_refusal == "ESME_RTHROTTLED"


async def test_the_carriers_own_word_for_throttling(smsc, account):
    simulator = await smsc()
    await simulator.change({"status_every": "2:0x00000400"})
    link = await account(simulator, command_status={"0x400": "throttled"})
    statuses = [await link.send() for _ in range(4)]
    assert statuses == [0, 0x400, 0, 0x400]
    assert (link.carrier.counters.throttled, link.carrier.counters.refused) == (2, 0)
    assert link.carrier.means(0x401).throttled is False


# What an operator does


async def test_suspended_it_is_given_nothing_and_its_receipts_still_come(smsc, account):
    simulator = await smsc(receipt_delay=0.2)
    link = await account(simulator)
    await link.send()
    await link.carrier.suspend()
    assert link.carrier.state is CarrierState.SUSPENDED
    with pytest.raises(Unavailable, match="suspended") as caught:
        await link.send()
    assert caught.value.down
    assert not link.delivered
    await eventually(lambda: link.delivered)
    await link.carrier.resume()
    assert link.carrier.state is CarrierState.UP
    assert await link.send() == 0
    assert link.connections[0].binds == 1


@pytest.mark.parametrize("order", ["suspend", "drain"])
async def test_who_waits_is_sent_elsewhere(carrier, account, order):
    link = await account(carrier, window=1, response_timeout=0.2)
    for _ in range(2):
        await link.lease()
    waiting = asyncio.ensure_future(link.lease())
    await eventually(lambda: link.carrier.queued == 1)
    await getattr(link.carrier, order)()
    with pytest.raises(Unavailable):
        await waiting


async def test_drained_what_is_in_flight_is_answered_before_it_unbinds(carrier, account):
    link = await account(carrier, binds=2)
    sending = asyncio.ensure_future(link.send())
    await eventually(lambda: carrier.submits)
    draining = asyncio.ensure_future(link.carrier.drain())
    await eventually(lambda: CloseReason.PEER_UNBOUND in [s.close_reason for s in carrier.sessions])
    assert link.carrier.state is CarrierState.DRAINING
    [busy] = [connection for connection in link.connections if connection.in_flight]
    assert busy.bound_at is not None
    carrier.answer("id")
    assert await sending == 0
    await draining
    assert link.carrier.state is CarrierState.DRAINED
    assert link.connections == ()
    assert {s.close_reason for s in carrier.sessions} == {CloseReason.PEER_UNBOUND}
    assert len(carrier.dialed) == 2


async def test_draining_takes_longer_than_a_moment_when_the_carrier_does(
    smsc, account, monkeypatch
):
    monkeypatch.setattr(carriers, "_FAREWELL", 0.01)
    simulator = await smsc(response_delay=0.3)
    link = await account(simulator)
    sending = asyncio.ensure_future(link.send())
    await eventually(lambda: simulator.counters.submits)
    await link.carrier.drain()
    assert await sending == 0


async def test_drained_it_hears_receipts_to_the_end(carrier, account):
    """With a pair, the receiver goes last."""
    link = await account(carrier, bind="transmitter+receiver")
    await link.carrier.drain()
    assert [s.close_reason for s in carrier.sessions] == [CloseReason.PEER_UNBOUND] * 2


async def test_resumed_it_binds_again(carrier, account):
    link = await account(carrier, binds=2, order=Order.DRAINED)
    assert link.carrier.state is CarrierState.DRAINED
    assert carrier.dialed == []
    await link.carrier.resume()
    await eventually(lambda: sum(c.bound for c in link.connections) == 2)


async def test_resumed_in_the_middle_of_draining(carrier, account):
    link = await account(carrier)
    sending = asyncio.ensure_future(link.send())
    await eventually(lambda: carrier.submits)
    draining = asyncio.ensure_future(link.carrier.drain())
    await eventually(lambda: link.carrier.state is CarrierState.DRAINING)
    await link.carrier.resume()
    await eventually(lambda: link.carrier.state is CarrierState.UP)
    carrier.answer("old")
    assert await sending == 0
    await draining
    # The new bind is still watched over.
    carrier.sessions[-1].abort()
    await eventually(lambda: len(carrier.dialed) == 3 and link.carrier.bound)


async def test_binds_are_added_and_taken_away_while_it_runs(smsc, account):
    simulator = await smsc(response_delay=0.005)
    link = await account(simulator, binds=2)
    flood = asyncio.ensure_future(link.flood(500))
    for binds in (5, 1, 3):
        link.carrier.configure(changed(link, binds=binds))
        await eventually(lambda: simulator.stats()["bound"] == binds)  # noqa: B023
        # The SMSC knows of a bind before its answer has come here.
        await eventually(lambda: sum(c.bound for c in link.connections) == binds)  # noqa: B023
    outcomes = Counter(map(str, await flood))
    # What had been promised to a bind that goes is looked after elsewhere; nothing is unknown.
    assert set(outcomes) <= {"0", "the connection is taken out of service"}
    assert {each.why for each in simulator.record.links if not each.bound} == {"peer_unbound"}
    assert simulator.counters.binds == 2 + 3 + 2


async def test_a_new_configuration_without_a_new_bind(smsc, account):
    simulator = await smsc()
    link = await account(simulator)
    link.carrier.configure(
        changed(link, prefixes=("45",), concatenation="sar", validity=60.0, window=5)
    )
    # A connection that was to be bound again would be out of service once the first has its answer.
    assert [await link.send(), await link.send()] == [0, 0]
    assert simulator.counters.binds == 1


async def test_a_new_configuration_with_new_binds_one_after_the_other(smsc, account):
    simulator = await smsc(response_delay=0.005, accounts={"other": "secret"})
    link = await account(simulator, binds=3)
    least = [3]

    def watch():
        least.append(simulator.stats()["bound"])
        return sum(each.system_id == "other" and each.bound for each in simulator.record.links) == 3

    flood = asyncio.ensure_future(link.flood(300))
    secret = type(link.carrier.config.password)("secret")
    link.carrier.configure(changed(link, system_id="other", password=secret))
    await eventually(watch)
    assert min(least) >= 2
    assert set(map(str, await flood)) <= {"0", "the connection is taken out of service"}
    assert simulator.counters.binds == 6


@pytest.mark.parametrize("binds_first", [0, 1, 2])
async def test_a_second_new_configuration_in_the_middle_of_the_first(smsc, account, binds_first):
    simulator = await smsc(accounts={"one": "1", "two": "2"})
    link = await account(simulator, binds=3)
    secret = type(link.carrier.config.password)
    link.carrier.configure(changed(link, system_id="one", password=secret("1")))
    # While a connection leaves, or the next one is dialed.
    await eventually(
        lambda: (
            sum(c.bound for c in link.connections) < 3
            and [each.system_id for each in simulator.record.links].count("one") >= binds_first
        ),
        pause=0,
    )
    link.carrier.configure(changed(link, system_id="two", password=secret("2")))

    def bound():
        return sorted(each.system_id for each in simulator.record.links if each.bound)

    await eventually(lambda: bound() == ["two"] * 3)
    assert len(link.connections) == 3


async def test_a_new_password_that_is_refused_costs_one_bind_and_the_right_one_heals_it(
    smsc, account
):
    simulator = await smsc()
    link = await account(
        simulator, binds=3, intensity=dataclasses.replace(SWIFT, hopeless_pause=60.0)
    )
    right, wrong = link.carrier.config.password, type(link.carrier.config.password)("wrong")
    link.carrier.configure(changed(link, password=wrong))
    await eventually(lambda: simulator.counters.binds_refused)
    assert await link.flood(20) == [0] * 20
    assert sum(each.bound for each in simulator.record.links) == 2
    link.carrier.configure(changed(link, password=right))
    await eventually(lambda: sum(each.bound for each in simulator.record.links) == 3)
    assert simulator.counters.binds_refused == 1


async def test_binds_may_be_taken_away_while_a_new_password_is_refused(smsc, account):
    simulator = await smsc()
    link = await account(simulator, binds=2)
    wrong = type(link.carrier.config.password)("wrong")
    link.carrier.configure(changed(link, password=wrong))
    await eventually(lambda: simulator.counters.binds_refused)
    link.carrier.configure(changed(link, binds=1))
    async with asyncio.timeout(2):
        await link.carrier.drain()
    assert link.carrier.state is CarrierState.DRAINED


async def test_drained_in_the_middle_of_a_new_configuration(smsc, account):
    simulator = await smsc(accounts={"one": "1"})
    link = await account(simulator, binds=3)
    secret = type(link.carrier.config.password)
    link.carrier.configure(changed(link, system_id="one", password=secret("1")))
    await link.carrier.drain()
    binds = simulator.counters.binds
    assert (link.carrier.state, simulator.stats()["bound"]) == (CarrierState.DRAINED, 0)
    # As long as a roll would take to dial.
    await eventually(link.carrier._rolling.done)
    assert simulator.counters.binds == binds


async def test_closed_in_the_middle_of_everything(smsc, account, monkeypatch):
    monkeypatch.setattr(carriers, "_FAREWELL", 0.05)
    simulator = await smsc(response_delay=60.0)
    link = await account(simulator, binds=3, window=2)
    flood = asyncio.ensure_future(link.flood(20))
    await eventually(lambda: simulator.counters.submits == 6)
    secret = type(link.carrier.config.password)
    link.carrier.configure(changed(link, system_id="one", password=secret("1")))
    async with asyncio.timeout(2):
        await link.carrier.close()
    async with asyncio.timeout(1):
        assert 0 not in await flood
    await eventually(lambda: simulator.stats()["connections"] == 0)


async def test_health_says_it_all(smsc, account):
    simulator = await smsc()
    link = await account(simulator, window=3, rate=100.0, binds=2)
    await link.send()
    await link.send("4520109905")
    await eventually(lambda: link.delivered)
    health = link.carrier.health()
    assert (health.name, health.state, health.rate) == ("carrier", CarrierState.UP, 100.0)
    assert (health.submitted, health.accepted, health.refused) == (2, 1, 1)
    assert (health.last_refusal, health.queued) == ("ESME_RINVDSTADR", 0)
    assert [c.name for c in health.connections] == ["carrier/1", "carrier/2"]
    assert {c.window for c in health.connections} == {3}
    assert {c.host for c in health.connections} == {f"127.0.0.1:{simulator.port}"}
    assert all(abs(c.bound_at - time.time()) < 30 for c in health.connections)
