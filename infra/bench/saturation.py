"""As many messages as a site takes: how many a second, and what each costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from domain.timeline import Status
from infra.bench import engine, ledger, meter
from infra.bench.closed_loop import keep_busy
from infra.bench.load import Sent, one_time_password
from infra.bench.rivals import Hermes
from infra.bench.site import TENANT, Site
from infra.bench.throughput import PRODUCT

_AT_ONCE: Final = 1_000
"""Messages under way: more than the rate times the seconds that a message takes, and no fewer than
may be posted in a second."""
_LOOK_EVERY: Final = 0.1
_WARM_UP: Final = 3.0
_RAMP: Final = 2.0
"""Seconds at the beginning that the rate leaves out: nothing has come to its end yet."""
_DRAIN: Final = 60.0
_DATABASES: Final = {"message log": "hermes.db", "SMPP journal": "smpp.db"}

Pids = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load showed. `rate` is messages delivered a second; by process, a message's
    `cpu_ms`, and `memory_mb` at the end, of all processes of a kind together; `kept_bytes` what a
    message leaves in each database. `busiest` is the share that the busiest of several endpoint
    processes had in their work. `work` is what restate-server did for a message, `otherwise` how
    many ended in another way than delivered, and `refused` how many requests the API did not take.
    `others` are the processors that programs had which are none of ours: with some, the rate is
    not what this machine can do."""

    rate: float
    cpu_ms: Mapping[str, float]
    memory_mb: Mapping[str, float]
    kept_bytes: Mapping[str, float]
    busiest: float
    work: Mapping[str, float]
    lost: int
    copies: int
    otherwise: int
    others: float
    refused: int

    @property
    def price(self) -> float:
        """CPU a message, all processes, in ms."""
        return sum(self.cpu_ms.values())


async def saturate(site: Site, pids: Pids | None = None) -> Measured:
    """Warm the site up, keep it busy for the run's duration, and count once all has ended. `pids`
    are those of the site's stack, or also those of servers that it shares: these are counted as
    restate-server."""
    await site.warm_up()
    await _busy(site, "warm-up", _WARM_UP)
    return await _measure(site, pids, _busy(site, "growth", site.run.duration))


async def steady(site: Site, rate: float, *, receipts_after: float) -> Measured:
    """The same at a rate, with receipts that come so many seconds later."""
    await site.warm_up()
    await site.smsc.set(receipt_delay=receipts_after)
    count = round(rate * site.run.duration)
    load = site.send("late receipts", rate=rate, count=count)
    return await _measure(site, None, load, behind=receipts_after)


async def _measure(
    site: Site, pids: Pids | None, load: Coroutine[Any, Any, Sent], *, behind: float = 0.0
) -> Measured:
    """What the load shows; messages end so many seconds `behind` it."""
    pids = pids or site.stack.pids
    measured = dict(pids())
    work = await asyncio.to_thread(engine.work, site.stack.ports.fabric)
    stored, cpu, began = _stored(site), _by_kind(meter.cpu_seconds(measured)), time.time()
    shares, theirs = _endpoints(site), _others()
    sent = await load
    stopped = time.time()
    await ledger.drain(site.log, [TENANT], _DRAIN)
    only_these(measured.items(), pids().items())
    used, elapsed = _by_kind(meter.cpu_seconds(measured)), time.time() - began
    others = (_others() - theirs) / elapsed
    worked = await asyncio.to_thread(engine.work, site.stack.ports.fabric)
    left, memory = _stored(site), _by_kind(meter.rss_mb(measured))
    endpoints = _endpoints(site)
    only_these(shares, endpoints)
    each = {pid: at - shares[pid] for pid, at in endpoints.items()}
    books = await site.settle({TENANT: sent}, _DRAIN)
    delivered = [m for m in books.ended.values() if m.status is Status.DELIVERED]
    ends = [m.ended_at.timestamp() for m in delivered if m.ended_at is not None]
    many = max(len(ends), 1)
    since, until = began + behind + _RAMP, stopped + behind
    return Measured(
        rate=sum(since <= at < until for at in ends) / (until - since),
        cpu_ms={name: (used[name] - cpu[name]) * 1000 / many for name in PRODUCT},
        memory_mb={name: memory[name] for name in PRODUCT},
        kept_bytes={name: (left[name] - stored[name]) / many for name in left},
        busiest=max(each.values()) / (sum(each.values()) or 1.0),
        work=engine.each(work, worked, many),
        lost=books.lost + len(books.in_flight),
        copies=(await site.seen()).duplicates,
        otherwise=len(books.ended) - len(delivered),
        others=max(others, 0.0),
        refused=sum(sent.refused.values()),
    )


async def _busy(site: Site, label: str, seconds: float) -> Sent:
    rival = Hermes(site)
    return await keep_busy(
        rival.url,
        rival.key,
        lambda: asyncio.to_thread(rival.in_flight),
        at_once=_AT_ONCE,
        look_every=_LOOK_EVERY,
        seconds=seconds,
        label=label,
        order=one_time_password,
    )


def only_these(measured: Iterable[object], now: Iterable[object]) -> None:
    """Raises RuntimeError when a process ended meanwhile: what it used is in no account."""
    gone, new = set(measured) - set(now), set(now) - set(measured)
    if gone or new:
        raise RuntimeError(f"processes have changed: {gone or 'none'} became {new or 'none'}")


def _by_kind(found: Mapping[str, float]) -> dict[str, float]:
    """Servers that are not the stack's own are nodes of a cluster."""
    kinds = dict.fromkeys(PRODUCT, 0.0)
    for name, value in found.items():
        kinds[name if name in kinds else "restate"] += value
    return kinds


def _others() -> float:
    """The CPU seconds of all that this process did not start, since the machine did."""
    times = psutil.cpu_times()
    ours = meter.cpu_seconds({"ours": os.getpid()})["ours"]
    return float(times.user + times.nice + times.system - ours)


def _endpoints(site: Site) -> dict[int, float]:
    """The CPU seconds of each endpoint process."""
    parent = psutil.Process(site.stack.pids()["endpoint"])
    family = parent.children() or [parent]
    return {each.pid: meter.cpu_seconds({"it": each.pid})["it"] for each in family}


def _stored(site: Site) -> dict[str, float]:
    return {name: _size(site.stack.data_dir / file) for name, file in _DATABASES.items()}


def _size(database: Path) -> int:
    """Bytes in use, those in its write-ahead log included."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        [pages] = reader.execute("PRAGMA page_count").fetchone()
        [free] = reader.execute("PRAGMA freelist_count").fetchone()
        [size] = reader.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)
