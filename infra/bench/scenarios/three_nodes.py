"""[three-nodes] restate-server as a cluster of three, one of which dies under load, and which the
others carry until it is back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import uvloop

from domain.timeline import Status
from infra.bench import meter
from infra.bench.cluster import NODES, Cluster, beside
from infra.bench.ledger import CONSERVATION, Books
from infra.bench.load import Sent
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.bench.site import TENANT, Site, asked_again

RATE: Final = 60.0
"""Messages a second: three servers on two cores write everything twice, and one that dies leaves
the others work to make up for."""
PARTITIONS: Final = 3
_DIES_AFTER, _BACK_AFTER = 1 / 3, 2 / 3
"""Of the load's time."""
_AT_ONCE: Final = 1_000
_READY_WITHIN: Final = 60.0
_SETTLED_WITHIN: Final = 120.0
_DRAIN: Final = 120.0

LED = at_least("partitions that the killed node led", 1)
TAKEN_OVER = exactly("partitions that the others led before it was back", PARTITIONS)
BACK = exactly("nodes that know of everything in the end", NODES)
ACCEPTING = at_most("longest time in which nothing was accepted", 10, "s")
DELIVERING = at_most("longest time in which nothing was delivered", 10, "s")
ANSWER = at_most("longest time from a request's being due to its 202", 10, "s")
END = at_most("longest time from a request's being due to its message's end", 20, "s")
REFUSED = exactly("requests refused for good", 0)
DELIVERED = exactly("delivered", "accepted")


@dataclass(frozen=True, slots=True)
class _Course:
    """What was done to the cluster. `led` is how many partitions the killed node led, `taken_over`
    how many the others led before it was back; `cpu_s` is what all nodes used from `began` to
    `killed`, in seconds since the epoch."""

    led: int
    taken_over: int
    cpu_s: float
    began: float
    killed: float


def run(run: Run, rate: float = RATE) -> Sequence[Check]:
    """Three nodes, and before them a stack that knows all of their doors."""
    run.phase("starting three nodes")
    with (
        Cluster(run.directory / "cluster", partitions=PARTITIONS) as cluster,
        beside(run, cluster) as stage,
    ):
        return uvloop.run(_measure(stage, cluster, rate))


async def _measure(site: Site, cluster: Cluster, rate: float) -> Sequence[Check]:
    await site.warm_up()
    count = int(rate * site.run.duration)
    breaking = asyncio.create_task(_kill_one(cluster, site.run.duration))
    sent = await site.send("nodes", rate=rate, count=count, insist=True, at_once=_AT_ONCE)
    course = await breaking
    nodes = await asyncio.to_thread(cluster.wait_settled, _SETTLED_WITHIN)
    books = await site.settle({TENANT: sent}, _DRAIN)
    return (
        LED.check(course.led),
        TAKEN_OVER.check(course.taken_over),
        BACK.check(nodes),
        *_pauses(sent, books),
        REFUSED.check(sum(sent.refused.values())),
        asked_again(sent),
        DELIVERED.check(len(delivered_at(books)), books.accepted),
        _price(course, books),
        *books.checks(await site.seen()),
    )


async def _kill_one(cluster: Cluster, seconds: float) -> _Course:
    """Kill the node that leads most, and let it come back."""
    began, before = time.time(), sum(meter.cpu_seconds(cluster.pids()).values())
    await asyncio.sleep(seconds * _DIES_AFTER)
    led_by = await asyncio.to_thread(cluster.led_by)
    victim, led = max(led_by.items(), key=lambda entry: entry[1])
    used = sum(meter.cpu_seconds(cluster.pids()).values()) - before
    killed = time.time()
    await asyncio.to_thread(cluster.kill, victim)
    await asyncio.sleep(seconds * (_BACK_AFTER - _DIES_AFTER))
    after = await asyncio.to_thread(cluster.led_by)
    cluster.start(victim)
    await asyncio.to_thread(cluster.wait_ready, victim, _READY_WITHIN)
    taken_over = sum(many for name, many in after.items() if name != victim)
    return _Course(led, taken_over, used, began, killed)


def _pauses(sent: Sent, books: Books) -> Iterable[Check]:
    """While the load lasted."""
    begin, end = min(sent.due.values(), default=0.0), max(sent.due.values(), default=0.0)
    yield ACCEPTING.check(longest_pause(sent.accepted_at, begin, end))
    yield DELIVERING.check(longest_pause(delivered_at(books), begin, end))
    yield ANSWER.check(max(sent.accept_ms) / 1000 if sent.accept_ms else None)
    took = [m.ended_at.timestamp() - sent.due[m.id] for m in books.ended.values() if m.ended_at]
    yield END.check(max(took, default=None))


def delivered_at(books: Books) -> list[float]:
    """When each message ended that ended as it should, seconds since the epoch."""
    return [
        m.ended_at.timestamp()
        for m in books.ended.values()
        if m.status is Status.DELIVERED and m.ended_at is not None
    ]


def longest_pause(moments: Iterable[float], begin: float, end: float) -> float | None:
    """The longest time between `begin` and `end` in which none of `moments` lies; None for none in
    all."""
    inside = sorted(moment for moment in moments if begin <= moment <= end)
    if not inside:
        return None
    return max(b - a for a, b in itertools.pairwise((begin, *inside, end)))


def _price(course: _Course, books: Books) -> Check:
    """What has no bar: the servers' share of a message's price, before the kill."""
    many = sum(course.began <= at < course.killed for at in delivered_at(books))
    each = round(course.cpu_s * 1000 / many, 2) if many else None
    return Check("CPU a message before that, three servers together, ms", each, "any", ok=True)


SCENARIO = Scenario(
    "three-nodes",
    f"{RATE:.0f}/s on three servers with two copies of everything; the one that leads most dies by "
    "kill -9 and comes back",
    (
        *(LED, TAKEN_OVER, BACK, ACCEPTING, DELIVERING, ANSWER, END),
        *(REFUSED, DELIVERED, *CONSERVATION),
    ),
    run,
    duration=60.0,
)
