"""Events reach endpoints in order, one endpoint's trouble stays its own, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from adapters.callbacks import events as events_module
from adapters.callbacks import waker as waker_module
from adapters.callbacks.events import INSERT, Health
from adapters.callbacks.sender import CallbackForbidden, CallbackHeldUp, CallbackRefused
from adapters.callbacks.waker import Waker, sweep
from adapters.store import audit
from adapters.store.change import looking
from domain.callback import (
    CONCURRENCY,
    ENDS,
    MIN_TRIES,
    PATIENCE,
    TRIP,
    EventType,
    origin_endpoint,
    pause_after,
    probe_pause_after,
)
from domain.message import Level
from domain.timeline import Entry, Event, Status
from tests.unit.callbacks.conftest import AT, GONE, REFUSED, TENANT, Post, an_order
from tests.waiting import eventually

ONE, TWO = "https://one.example", "https://two.example"
FAR = 4e9
"""A time that comes much later."""
ALL = frozenset(EventType)
FOLLOWED = an_order(tell=("message.submitted", "message.attempt_failed"))


async def test_each_endpoint_is_told_the_events_that_it_wants(post: Post):
    ends = post.endpoint("one")
    progress = post.endpoint("two", frozenset({EventType.SUBMITTED}))
    await post.end("msg_1", FOLLOWED)
    assert set(post.woken) == {ends.id, progress.id}
    assert await post.pump.run(ends.id) is None
    assert await post.pump.run(progress.id) is None
    assert post.receivers.got(ONE) == ["msg_1.ended"]
    assert post.receivers.got(TWO) == ["msg_1.1"]


async def test_a_tenant_without_endpoints_costs_no_row(post: Post):
    post.endpoint("one", tenant="globex")
    await post.end("msg_1", FOLLOWED)
    assert post.woken == []
    assert await post.events.waiting() == []


async def test_an_end_that_is_logged_twice_is_told_once(post: Post):
    endpoint = post.endpoint()
    await post.end("msg_1")
    await post.pump.run(endpoint.id)
    await post.end("msg_1")
    await post.pump.run(endpoint.id)
    assert post.receivers.got(ONE) == ["msg_1.ended"]


async def test_events_of_a_message_wait_behind_one_that_failed(post: Post):
    endpoint = post.endpoint("one", ALL)
    post.receivers.refused_events["msg_1.1"] = REFUSED
    await post.end("msg_1", FOLLOWED)
    await post.end("msg_2", FOLLOWED)
    pause = await post.pump.run(endpoint.id)
    assert pause == pytest.approx(pause_after(1), rel=0.2)
    assert sorted(post.receivers.got(ONE)) == ["msg_1.1", "msg_2.1", "msg_2.ended"]
    # Later events of the first message may come any time: they wait, too.
    late = post.outbox.late(
        "msg_1",
        FOLLOWED,
        Status.FAILED,
        Entry(AT, Event.RECEIPT, level=Level.DELIVERED, receipt_id="r1", late=True),
    )
    await post.store_all(late)
    assert await post.pump.run(endpoint.id) > 0
    del post.receivers.refused_events["msg_1.1"]
    post.clock.ahead = 10
    while await post.pump.run(endpoint.id) is not None:
        pass
    of_the_first = [name for name in post.receivers.got(ONE) if name.startswith("msg_1")]
    assert of_the_first[:3] == ["msg_1.1", "msg_1.1", "msg_1.ended"]
    assert of_the_first[3].startswith("msg_1.late.")
    assert set((await post.states(endpoint.id)).values()) == {"delivered"}


async def test_an_event_that_is_refused_does_not_hold_up_other_messages(post: Post):
    endpoint = post.endpoint()
    post.receivers.refused_events["msg_0.ended"] = REFUSED
    await post.end_many(40)
    assert await post.pump.run(endpoint.id) > 0
    states = await post.states(endpoint.id)
    assert states.pop("msg_0.ended") == "waiting"
    assert set(states.values()) == {"delivered"}


async def test_a_dead_endpoint_is_tried_with_one_event_at_a_time(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = REFUSED
    await post.end_many(200)
    pause = await post.pump.run(endpoint.id)
    tried = len(post.receivers.posts)
    assert TRIP <= tried <= TRIP + CONCURRENCY
    assert 0 < pause <= probe_pause_after(tried) * 1.1
    assert await post.pump.run(endpoint.id) > 0
    assert len(post.receivers.posts) == tried, "nothing is posted before its time"
    post.clock.ahead += 700
    assert await post.pump.run(endpoint.id) > 0
    assert len(post.receivers.posts) == tried + 1
    assert (await post.events.backlog(endpoint.id)).waiting == 200


async def test_what_waited_for_a_dead_endpoint_is_told_when_it_is_back(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = REFUSED
    await post.end_many(60)
    await post.pump.run(endpoint.id)
    post.receivers.failing.clear()
    post.clock.ahead += 700
    while await post.pump.run(endpoint.id) is not None:
        pass
    assert set((await post.states(endpoint.id)).values()) == {"delivered"}
    health = await post.events.health(endpoint.id)
    assert (health.failures, health.failing_since, health.error) == (0, None, None)


async def test_a_poisoned_event_does_not_keep_an_endpoint_down(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = REFUSED
    await post.end_many(30)
    await post.pump.run(endpoint.id)
    post.receivers.failing.clear()
    post.receivers.refused_events["msg_0.ended"] = REFUSED
    for _ in range(4):
        post.clock.ahead += 700
        await post.pump.run(endpoint.id)
    states = await post.states(endpoint.id)
    assert states.pop("msg_0.ended") == "waiting"
    assert set(states.values()) == {"delivered"}


async def test_a_slow_endpoint_has_a_bound_and_is_nobody_elses_wait(post: Post):
    slow, quick = post.endpoint("one"), post.endpoint("two")
    post.receivers.held[ONE] = asyncio.Event()
    await post.end_many(50)
    running = asyncio.create_task(post.pump.run(slow.id))
    await eventually(lambda: post.receivers.at_once.get(ONE) == CONCURRENCY)
    assert await post.pump.run(quick.id) is None
    assert len(post.receivers.got(TWO)) == 50
    post.receivers.held[ONE].set()
    assert await running is None
    assert post.receivers.most[ONE] == CONCURRENCY


async def test_an_endpoint_that_fails_for_days_is_disabled_and_its_backlog_stays(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = REFUSED
    await post.end_many(20)
    for _ in range(MIN_TRIES + 2):
        post.clock.ahead += 700
        await post.pump.run(endpoint.id)
    post.sections.refresh()
    assert post.endpoints.value.get(endpoint.id).enabled, "it has not failed for days"
    post.clock.ahead += PATIENCE.total_seconds()
    assert await post.pump.run(endpoint.id) is None
    post.sections.refresh()
    disabled = post.endpoints.value.get(endpoint.id)
    assert not disabled.enabled
    assert disabled.disabled_because == "it has failed for 3 days: HTTP 500"
    assert set((await post.states(endpoint.id)).values()) == {"waiting"}
    with looking(post.where) as database:
        newest = audit.entries(database, tenant=TENANT, limit=1)[0]
    assert (newest.actor, newest.action, newest.subject) == (
        "hermes",
        "callback.disable",
        endpoint.id,
    )

    tried = len(post.receivers.posts)
    assert await post.pump.run(endpoint.id) is None
    assert len(post.receivers.posts) == tried

    post.receivers.failing.clear()
    post.store.change(TENANT, endpoint.id, "key:test", enabled=True)
    # Nobody has told this process: it looks before it believes that an endpoint is disabled.
    while await post.pump.run(endpoint.id) is not None:
        pass
    assert set((await post.states(endpoint.id)).values()) == {"delivered"}


async def test_an_endpoint_that_is_gone_is_disabled_at_once(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = GONE
    await post.end("msg_1")
    assert await post.pump.run(endpoint.id) is None
    post.sections.refresh()
    assert (
        post.endpoints.value.get(endpoint.id).disabled_because == "the endpoint answered 410 Gone"
    )
    assert await post.states(endpoint.id) == {"msg_1.ended": "waiting"}


async def test_an_event_that_is_refused_for_days_is_given_up_and_may_be_replayed(post: Post):
    endpoint = post.endpoint()
    post.receivers.refused_events["msg_bad.ended"] = REFUSED
    await post.end("msg_bad")
    for number in range(MIN_TRIES + 2):
        await post.end(f"msg_{number}")
        post.clock.ahead += 7200
        await post.pump.run(endpoint.id)
    assert (await post.states(endpoint.id))["msg_bad.ended"] == "waiting"
    post.clock.ahead += PATIENCE.total_seconds()
    await post.end("msg_well")
    await post.pump.run(endpoint.id)
    assert (await post.states(endpoint.id))["msg_bad.ended"] == "given_up"
    post.receivers.refused_events.clear()
    assert await post.events.replay(endpoint.id, TENANT, state="given_up", since=0) == 1
    await post.pump.run(endpoint.id)
    assert (await post.states(endpoint.id))["msg_bad.ended"] == "delivered"


async def test_a_receiver_that_asks_for_patience_gets_it(post: Post):
    endpoint = post.endpoint()
    post.receivers.failing[ONE] = CallbackRefused("HTTP 429", status=429, retry_after=120)
    await post.end("msg_1")
    assert 100 < await post.pump.run(endpoint.id) < 140


@pytest.mark.parametrize("which", ["one", "since"])
async def test_a_replay_keeps_ids_and_takes_nobody_elses_events(post: Post, which: str):
    endpoint, other = post.endpoint("one"), post.endpoint("two")
    for name in ("msg_1", "msg_2"):
        await post.end(name)
    for one in (endpoint, other):
        await post.pump.run(one.id)
    before = len(post.receivers.posts)
    asked = {"event": "msg_1.ended"} if which == "one" else {"since": 0.0}
    expected = ["msg_1.ended"] if which == "one" else ["msg_1.ended", "msg_2.ended"]
    assert await post.events.replay(endpoint.id, "globex", **asked) == 0
    assert await post.events.replay(endpoint.id, TENANT, **asked) == len(expected)
    await post.pump.run(endpoint.id)
    await post.pump.run(other.id)
    again = post.receivers.posts[before:]
    assert sorted(again) == [(ONE, name) for name in expected]


async def test_a_replay_does_not_replay_what_is_told_again_meanwhile(post: Post, monkeypatch):
    monkeypatch.setattr(events_module, "_REPLAYED_AT_ONCE", 5)
    monkeypatch.setattr(events_module, "MAX_REPLAYED", 100)
    endpoint = post.endpoint()
    await post.end_many(20)
    await post.pump.run(endpoint.id)
    replaying = asyncio.create_task(post.events.replay(endpoint.id, TENANT, since=0.0))
    while not replaying.done():
        await post.pump.run(endpoint.id)
    await post.pump.run(endpoint.id)
    assert await replaying == 20
    told = post.receivers.got(ONE)
    assert sorted(told) == sorted([f"msg_{number}.ended" for number in range(20)] * 2)


CHANGES = {
    # what a tenant does while its endpoint is being told, and whether the rest goes elsewhere
    "removed": (lambda post, id_: post.store.remove(TENANT, id_, "key:test"), False),
    "disabled": (lambda post, id_: post.store.change(TENANT, id_, "k", enabled=False), False),
    "moved": (lambda post, id_: post.store.change(TENANT, id_, "key:test", url=TWO), True),
}


@pytest.mark.parametrize(("change", "moved"), CHANGES.values(), ids=CHANGES)
async def test_a_change_is_obeyed_by_a_run_that_is_under_way(post: Post, change, moved):
    endpoint = post.endpoint()
    post.receivers.held[ONE] = asyncio.Event()
    await post.end_many(40)
    running = asyncio.create_task(post.pump.run(endpoint.id))
    await eventually(lambda: post.receivers.at_once.get(ONE) == CONCURRENCY)
    change(post, endpoint.id)
    post.endpoints.refresh()
    post.receivers.held.pop(ONE).set()
    await running
    while await post.pump.run(endpoint.id) is not None:
        pass
    assert len(post.receivers.got(ONE)) == CONCURRENCY
    assert len(post.receivers.got(TWO)) == (40 - CONCURRENCY if moved else 0)


async def test_a_secret_without_grace_signs_nothing_more_of_a_run_that_is_under_way(post: Post):
    endpoint = post.endpoint()
    post.receivers.held[ONE] = asyncio.Event()
    await post.end_many(40)
    running = asyncio.create_task(post.pump.run(endpoint.id))
    await eventually(lambda: post.receivers.at_once.get(ONE) == CONCURRENCY)
    new = post.store.rotate(TENANT, endpoint.id, timedelta(0), "key:test")
    post.endpoints.refresh()
    post.receivers.held.pop(ONE).set()
    assert await running is None
    assert set(post.receivers.signed_with[CONCURRENCY:]) == {(new,)}
    assert len(post.receivers.signed_with) == 40


async def test_a_removed_endpoint_is_told_nothing_more(post: Post):
    endpoint = post.endpoint()
    await post.end("msg_1")
    post.store.remove(TENANT, endpoint.id, "key:test")
    post.sections.refresh()
    assert await post.pump.run(endpoint.id) is None
    assert post.receivers.posts == []
    assert await post.events.waiting() == []


async def test_an_endpoint_made_by_another_process_is_not_taken_for_a_removed_one(post: Post):
    made, _ = post.store.create(TENANT, ONE, ENDS, "", "key:test")
    row = (made.id, "msg_1.ended", TENANT, "msg_1", "message.failed", None, b"{}", 0.0, 0.0)
    await post.events.add((INSERT, row))
    assert await post.pump.run(made.id) is None
    assert post.receivers.got(ONE) == ["msg_1.ended"]


async def test_a_messages_own_address_is_told_the_end_signed_by_the_tenant(post: Post):
    url = "https://shop.example/told?order=7"
    await post.end("msg_1", an_order(status_callback=url))
    [origin] = post.woken
    assert origin == origin_endpoint(TENANT, "https://shop.example/elsewhere")
    assert await post.pump.run(origin) is None
    assert post.receivers.got(url) == ["msg_1.ended"]
    assert post.receivers.signed_with == [("whsec_of_the_tenant",)]
    assert await post.events.hosts(TENANT, "", 10) == [(origin, "https://shop.example")]


async def test_a_messages_own_address_that_is_forbidden_is_not_tried_for_days(post: Post):
    url = "https://shop.example/told"
    post.receivers.failing[url] = CallbackForbidden("the host has an address that is not public")
    await post.end("msg_1", an_order(status_callback=url))
    assert await post.pump.run(post.woken[0]) is None
    assert await post.states(post.woken[0]) == {"msg_1.ended": "given_up"}


@pytest.mark.parametrize("failures", [0, TRIP], ids=["well", "down"])
async def test_what_we_do_not_come_to_posting_is_not_the_receivers_failure(
    post: Post, failures: int
):
    endpoint = post.endpoint()
    await post.end("msg_1")
    before = Health(failures, None, probe_at=0.0) if failures else Health()
    await post.events.note_health(endpoint.id, TENANT, ONE, before)
    post.receivers.failing[ONE] = CallbackHeldUp("too many hosts are being looked up")
    pause = await post.pump.run(endpoint.id)
    assert pause is not None
    assert 3 < pause < 6
    health = await post.events.health(endpoint.id)
    assert (health.failures, health.failed_at, health.error) == (failures, None, None)
    [kept] = await post.events.list(
        endpoint.id, TENANT, state=None, message=None, before=None, limit=9
    )
    assert (kept.tries, kept.error, kept.telling.state.value) == (0, None, "waiting")
    del post.receivers.failing[ONE]
    post.clock.ahead = 10
    await post.pump.run(endpoint.id)
    assert await post.states(endpoint.id) == {"msg_1.ended": "delivered"}


async def test_both_secrets_sign_during_the_grace_and_only_the_new_one_after(post: Post):
    endpoint = post.endpoint()
    [old] = post.endpoints.value.secrets(endpoint.id, post.clock())
    new = post.store.rotate(TENANT, endpoint.id, timedelta(hours=1), "key:test")
    post.endpoints.refresh()
    await post.end("msg_1")
    await post.pump.run(endpoint.id)
    post.clock.ahead = 3700
    await post.end("msg_2")
    await post.pump.run(endpoint.id)
    assert post.receivers.signed_with == [(new, old), (new,)]


async def test_a_run_ends_in_time_and_says_that_there_is_more(post: Post):
    from adapters.callbacks.pump import Pump

    endpoint = post.endpoint()
    await post.end_many(3)
    pump = Pump(post.events, post.endpoints, post.receivers, None, budget=0, clock=post.clock)
    assert await pump.run(endpoint.id) == 0
    assert post.receivers.posts == []


async def test_what_comes_during_a_run_is_told_by_that_run(post: Post):
    endpoint = post.endpoint()
    post.receivers.held[ONE] = asyncio.Event()
    await post.end("msg_1")
    running = asyncio.create_task(post.pump.run(endpoint.id))
    await eventually(lambda: post.receivers.posts)
    await post.end("msg_2")
    assert post.pump.look_again(endpoint.id)
    post.receivers.held.pop(ONE).set()
    assert await running is None
    assert post.receivers.got(ONE) == ["msg_1.ended", "msg_2.ended"]
    assert not post.pump.look_again(endpoint.id)


async def test_the_sweep_finds_every_endpoint_with_a_backlog(post: Post):
    waiting = {post.endpoint(name).id for name in ("one", "two")}
    idle = post.endpoint("three", frozenset({EventType.CANCELED}))
    await post.end_many(3)
    found = [endpoint for endpoint, _ in await post.events.waiting()]
    assert set(found) == waiting
    assert len(found) == 2
    assert idle.id not in found


async def test_the_sweep_wakes_what_was_forgotten_and_nothing_that_has_its_time(post: Post):
    forgotten, fresh, down, off = (post.endpoint(name) for name in ("one", "two", "three", "four"))
    post.receivers.failing["https://three.example"] = REFUSED
    for number in range(TRIP):
        row = (f"msg_{number}.ended", TENANT, f"msg_{number}", "message.sent", None, b"{}")
        for endpoint in (forgotten, down, off):
            await post.events.add((INSERT, (endpoint.id, *row, 1.0, 1.0)))
    await post.end("msg_new")
    await post.pump.run(down.id)
    post.store.change(TENANT, off.id, "key:test", enabled=False)
    post.endpoints.refresh()
    woken: list[str] = []

    async def wake(endpoint: str) -> None:
        woken.append(endpoint)

    waker = Waker(wake)
    sweeping = asyncio.create_task(sweep(post.events, post.endpoints, waker, every=60))
    await eventually(lambda: woken)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await waker.close()
    assert woken == [forgotten.id]
    assert fresh.id in dict(await post.events.waiting())


LATE = {
    # failures in a row, when the endpoint is tried again, when its events are due, and whether
    # somebody forgot it; what is at 1.0 was to come long ago, what is at FAR comes later
    "what should have been told": (0, None, [1.0], True),
    "what comes later": (0, None, [FAR], False),
    "what waits behind one that comes later": (0, None, [FAR, 1.0], False),
    "what waits behind one that should have been told": (0, None, [1.0, FAR], True),
    "down, to be tried later": (TRIP, FAR, [1.0], False),
    "down, should have been tried": (TRIP, 1.0, [FAR], True),
    "failing, and not down": (TRIP - 1, FAR, [1.0], True),
}


@pytest.mark.parametrize(("failures", "probe_at", "due", "late"), LATE.values(), ids=LATE)
async def test_what_was_forgotten_is_known_from_what_has_its_time(
    post: Post, failures, probe_at, due, late
):
    endpoint = post.endpoint().id
    await post.events.note_health(
        endpoint, TENANT, ONE, Health(failures=failures, probe_at=probe_at)
    )
    for number, due_at in enumerate(due):
        row = (f"msg_1.{number}", TENANT, "msg_1", "message.sent", None, b"{}", 1.0, due_at)
        await post.events.add((INSERT, (endpoint, *row)))
    assert await post.events.waiting(5.0) == [(endpoint, late)]


async def test_a_sweep_asks_once_however_many_hosts_wait(post: Post, monkeypatch):
    hosts = [f"cbo_{number:024}" for number in range(7)]
    for host in hosts:
        row = (f"{host}.ended", TENANT, host, "message.sent", ONE, b"{}", time.time(), 1.0)
        await post.events.add((INSERT, (host, *row)))
    asked: list[tuple[str, int]] = []
    waiting = post.events.waiting

    async def counted(late: float, after: str, most: int) -> list[tuple[str, bool]]:
        found = await waiting(late, after, most)
        asked.append((after, len(found)))
        return found

    monkeypatch.setattr(post.events, "waiting", counted)
    monkeypatch.setattr(waker_module, "MOST_LOOKED_AT", 3)
    woken: set[str] = set()
    seen: list[int] = []
    sweeping = asyncio.create_task(
        sweep(
            post.events,
            post.endpoints,
            woken.add,
            every=0.001,
            seen=lambda backlogs: seen.append(len(backlogs)),
        )
    )
    assert await eventually(lambda: len(asked) >= 4)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert asked[:4] == [("", 3), (hosts[2], 3), (hosts[5], 1), ("", 3)]
    assert woken == set(hosts)
    assert set(seen) == {3}


async def test_a_long_backlog_is_not_searched_through(post: Post):
    endpoint = post.endpoint()
    for start in range(0, 20_000, 5_000):
        rows = [
            (
                endpoint.id,
                f"msg_{n}.ended",
                TENANT,
                f"msg_{n}",
                "message.sent",
                None,
                b"{}",
                1.0,
                1.0,
            )
            for n in range(start, start + 5_000)
        ]
        await asyncio.gather(*(post.events.add((INSERT, row)) for row in rows))
    began = time.monotonic()
    found = await post.events.due(endpoint.id, 2.0, 256)
    assert await post.events.next_due(endpoint.id) == 1.0
    assert await post.events.first(endpoint.id) == found[0]
    took = time.monotonic() - began
    assert [event.id for event in found[:2]] == ["msg_0.ended", "msg_1.ended"]
    assert took < 1, "each event looks for earlier ones of its own message only"


async def test_old_events_are_dropped(post: Post):
    endpoint = post.endpoint()
    old = (endpoint.id, "msg_0.ended", TENANT, "msg_0", "message.sent", None, b"{}", 0.0, None)
    await post.events.add((INSERT, old))
    await post.end("msg_1")
    await post.events.prune()
    assert list(await post.states(endpoint.id)) == ["msg_1.ended"]


DAY = 86_400.0
HOSTS = {
    # an endpoint's id, days since it was told something (None: never) and since it failed, whether
    # an event of it is kept, and whether its state is
    "a host of 31 days ago": (f"cbo_{'1' * 24}", 31, None, False, False),
    "a host that failed for the last time 31 days ago": (f"cbo_{'1' * 24}", 90, 31, False, False),
    "a host of 29 days ago": (f"cbo_{'1' * 24}", 29, 31, False, True),
    "a host that failed 29 days ago": (f"cbo_{'1' * 24}", None, 29, False, True),
    "a host with an event": (f"cbo_{'1' * 24}", 31, None, True, True),
    "the tenant's own": (f"cbe_{'1' * 24}", 31, 31, False, True),
}


@pytest.mark.parametrize(
    ("name", "delivered", "failed", "event", "stays"), HOSTS.values(), ids=HOSTS
)
async def test_a_host_that_no_message_names_any_more_is_forgotten(
    post: Post, monkeypatch, name, delivered, failed, event, stays
):
    monkeypatch.setattr(events_module, "_PRUNED_AT_ONCE", 1)
    now = time.time()
    health = Health(
        delivered_at=None if delivered is None else now - delivered * DAY,
        failed_at=None if failed is None else now - failed * DAY,
    )
    others = [f"cbo_{digit * 24}" for digit in "02"]
    for other in others:
        await post.events.note_health(other, TENANT, ONE, Health(delivered_at=now))
    await post.events.note_health(name, TENANT, ONE, health)
    if event:
        row = ("msg_1.ended", TENANT, "msg_1", "message.sent", ONE, b"{}", now, None)
        await post.events.add((INSERT, (name, *row)))
    await post.events.prune()
    assert (await post.events.health(name) == health) == stays
    assert [host for host, _ in await post.events.hosts(TENANT, "", 10) if host in others] == others


@pytest.mark.parametrize(
    ("tries", "asked", "pause"),
    [
        (1, None, 5),
        (2, None, 10),
        (10, None, 2560),
        (11, None, 3600),
        (99, None, 3600),
        (1, 60, 60),
        (1, 1, 5),
        (1, 99_999, 3600),
    ],
)
def test_pauses_double_up_to_an_hour(tries: int, asked: float | None, pause: float):
    assert pause_after(tries, asked) == pause


def test_an_endpoint_that_is_down_is_tried_every_ten_minutes_at_least():
    pauses = [probe_pause_after(failures) for failures in range(1, 40)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 600


async def test_what_is_told_waits_or_is_disabled_shows_in_the_metrics(post: Post):
    from adapters.callbacks.pump import Pump
    from adapters.telemetry.callbacks import CallbackTelemetry
    from adapters.telemetry.exposition import Metrics
    from tests.unit.admin.test_metrics import samples

    telemetry = CallbackTelemetry(post.endpoints, post.clock)

    async def disable(endpoint: str, because: str) -> None:
        await asyncio.to_thread(post.store.disable, endpoint, because)

    async def nobody(endpoint: str) -> None:
        pass

    pump = Pump(
        post.events,
        post.endpoints,
        post.receivers,
        disable,
        clock=post.clock,
        told=telemetry.told,
    )
    well, failing, gone = (post.endpoint(name) for name in ("one", "two", "three"))
    post.receivers.failing["https://two.example"] = REFUSED
    post.receivers.failing["https://three.example"] = GONE
    await post.end("msg_1")
    for endpoint in (well, failing, gone):
        await pump.run(endpoint.id)
    post.endpoints.refresh()
    waker = Waker(nobody)
    sweeping = asyncio.create_task(
        sweep(post.events, post.endpoints, waker, every=60, seen=telemetry.wait)
    )

    def found() -> dict[tuple[str, ...], float]:
        return samples(Metrics(telemetry).expose("")[0].decode())

    waiting = ("hermes_callbacks_waiting", TENANT)
    assert await eventually(lambda: found().get(waiting)) == 2
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await waker.close()
    assert found()["hermes_callbacks_total", "delivered", TENANT] == 1
    assert found()["hermes_callbacks_total", "failed", TENANT] == 2
    assert found()["hermes_callback_endpoints_disabled", TENANT] == 1
    post.clock.ahead = 600
    assert found()["hermes_callbacks_oldest_seconds", TENANT] >= 600
