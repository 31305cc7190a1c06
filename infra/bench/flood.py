"""A flood that a slow carrier cannot take: what [throttle] and [otp-priority] look at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from infra.bench import meter
from infra.bench.ledger import Books, Seen
from infra.bench.load import Sent, by_day, one_time_password, recipient
from infra.bench.scenario import Run
from infra.bench.site import QUIET_TENANT, TENANT, Peer, Site, site

CARRIER_RATE = 200.0
FLOOD_RATE = 1_000.0
QUEUE_WAIT = 10.0
"""Seconds that a tenant's messages may have to wait before the API says 429: passed early in the
flood, so that most of it shows what comes after."""
OTP_RATE = 5.0
_AT_ONCE = 1_000
"""Requests unanswered, each on a connection of its own: what waits for its turn at the API for a
second must not hold up the others."""
_STEP_TIMEOUT = 900.0
"""Seconds, more than the longest queue needs."""
_DRAIN = 240.0
_SAMPLE_EVERY = 1.0
_OURS = ("api", "endpoint", "pool")
_PROBE_TRIES = 40


@dataclass(frozen=True, slots=True)
class Flooded:
    """What came of it. `began` and `ended` bound the load, in seconds since the epoch;
    `retry_after` is the header of a 429, None when none was met; `growth` the memory of our
    processes in the load's last quarter over that in its second."""

    began: float
    ended: float
    flood: Sent
    books: Books
    seen: Seen
    stats: Mapping[str, Any]
    otps: Mapping[str, Sent]
    retry_after: str | None
    growth: float | None


@contextlib.contextmanager
def narrow_site(run: Run) -> Iterator[Site]:
    """A stack whose only carrier throttles; the account does not say at what rate."""
    with site(
        run,
        Peer(flags=("--rate", str(CARRIER_RATE))),
        environment={"HERMES_BACKPRESSURE__QUEUE_WAIT": str(QUEUE_WAIT)},
    ) as stage:
        yield stage


async def flood(site: Site, *, otps: bool) -> Flooded:
    """Flood the carrier for the run's duration, with OTPs of the flooding tenant and of a quiet
    one in between if wanted, and wait until all of it has ended."""
    await site.warm_up()
    seconds = site.run.duration
    began = time.time()
    async with asyncio.TaskGroup() as tasks:
        memory = tasks.create_task(_memory(site, seconds))
        flooding = tasks.create_task(
            site.send(
                "flood",
                rate=FLOOD_RATE,
                count=int(FLOOD_RATE * seconds),
                order=_bulk,
                at_once=_AT_ONCE,
                connections=_AT_ONCE,
            )
        )
        probing = tasks.create_task(_probe(site, seconds))
        passwords = {
            tenant: tasks.create_task(_otps(site, tenant, seconds))
            for tenant in ((TENANT, QUIET_TENANT) if otps else ())
        }
    ended = time.time()
    probed, retry_after = probing.result()
    bulk = flooding.result() + probed
    its_otps = {tenant: task.result() for tenant, task in passwords.items()}
    sent = {TENANT: bulk, **its_otps}
    if TENANT in its_otps:
        sent[TENANT] = bulk + its_otps[TENANT]
    books = await site.settle(sent, _DRAIN)
    return Flooded(
        began,
        ended,
        bulk,
        books,
        await site.seen(),
        await site.smsc.stats(),
        its_otps,
        retry_after,
        _growth(memory.result()),
    )


def _bulk(number: int, text: str) -> dict[str, Any]:
    return {
        "to": {"sms": recipient(number)},
        "content": {"text": text},
        "plan": [{"channel": "sms", "timeout": _STEP_TIMEOUT}],
        "category": "marketing",
        "recipient": {"time_zone": by_day()},
    }


async def _otps(site: Site, tenant: str, seconds: float) -> Sent:
    return await site.send(
        f"otp {tenant}",
        rate=OTP_RATE,
        count=int(OTP_RATE * seconds),
        tenant=tenant,
        order=one_time_password,
        quiet=True,
    )


async def _probe(site: Site, seconds: float) -> tuple[Sent, str | None]:
    """Late in the flood, post as an ordinary client until the answer is 429."""
    sent = Sent()
    await asyncio.sleep(seconds * 0.7)
    for number in range(_PROBE_TRIES):
        text = f"probe {number:06}"
        status, message, retry_after = await asyncio.to_thread(_post, site, _bulk(number, text))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return sent, retry_after
        if message is not None:
            sent.texts[message] = text
            sent.due[message] = time.time()
        await asyncio.sleep(seconds * 0.2 / _PROBE_TRIES)
    return sent, None


def _post(site: Site, order: Mapping[str, Any]) -> tuple[int, str | None, str | None]:
    """The status, the message's id and the Retry-After of one request."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{site.stack.api_url}/v1/messages",
        data=json.dumps(order).encode(),
        headers={
            "authorization": f"Bearer {site.stack.keys[TENANT]}",
            "content-type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())["id"], None
    except urllib.error.HTTPError as refused:
        return refused.code, None, refused.headers.get("Retry-After")


async def _memory(site: Site, seconds: float) -> list[float]:
    """Our processes' resident memory, in MB, once a second."""
    pids = {name: pid for name, pid in site.stack.pids().items() if name in _OURS}
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples.append(sum(meter.rss_mb(pids).values()))
        await asyncio.sleep(_SAMPLE_EVERY)
    return samples


def _growth(samples: list[float]) -> float | None:
    quarter = len(samples) // 4
    if not quarter:
        return None
    early = statistics.median(samples[quarter : 2 * quarter])
    return statistics.median(samples[-quarter:]) / early
