"""[in-flight] So many messages wait for their receipts at once; every process is started anew in
between; all still wait; then all the receipts come."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import uvloop

from domain.ports import LoggedMessage
from domain.timeline import Event, Status
from infra.bench.ledger import CONSERVATION, timeline
from infra.bench.load import one_time_password
from infra.bench.scenario import Check, Run, Scenario, at_most, below, exactly
from infra.bench.series import Series, followed
from infra.bench.site import EVERYTHING, TENANT, Peer, Site, asked_again, site

RATE: Final = 325.0
"""Messages a second that are offered: what two cores take without falling behind."""
MESSAGES: Final = 130_000
_AT_ONCE: Final = 1_000
_RECEIPTS_WITHIN: Final = 120.0
_RECEIPT_RATE: Final = MESSAGES / (0.95 * _RECEIPTS_WITHIN)
_STEP_TIMEOUT: Final = 7_200.0
_SUBMITTED_WITHIN: Final = 300.0
_SUSPENDED_WITHIN: Final = 120.0
_READY_WITHIN: Final = 180.0
"""Seconds for one process to be there again; restate-server looks through what it holds."""
_DRAIN: Final = 900.0
"""Seconds for the endings: each is a handler that is begun anew and replayed."""
_LOOK_EVERY: Final = 0.5
_SUSPENDED: Final = (
    "SELECT count(*) AS n FROM sys_invocation WHERE target_service_name = 'Message'"
    " AND target_handler_name = 'send' AND status = 'suspended'"
)

ACCEPTED = exactly("messages accepted", "messages offered")
REFUSED = exactly("requests refused for good", 0)
WAITING = exactly("waiting for receipts at once", "messages accepted")
SUSPENDED = exactly("of these, suspended handlers", "messages accepted")
RESTARTED = exactly("processes started anew meanwhile", len(EVERYTHING))
STILL_WAITING = exactly("waiting for receipts after that", "messages accepted")
STILL_SUSPENDED = exactly("suspended handlers after that", "messages accepted")
RECEIPTS = at_most("all receipts sent and acknowledged", _RECEIPTS_WITHIN, "s")
DELIVERED = exactly("delivered", "messages accepted")
EARLY = exactly("ended before its own receipt was sent, or without one", 0)
TWICE = exactly("submitted twice, or completed by more than one receipt", 0)
ENDPOINT = below("endpoint's memory at its peak", 500, "MB")
POOL = below("pool's memory at its peak", 500, "MB")


def run(run: Run) -> Sequence[Check]:
    """One carrier that keeps its receipts back."""
    with site(run, Peer(flags=("--keep", "1000000"))) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    await site.warm_up()
    await site.smsc.set(hold_receipts=True, receipt_rate=_RECEIPT_RATE)
    async with followed(site.stack, EVERYTHING) as series:
        count = max(round(RATE * site.run.duration), 1)
        sent = await site.send(
            "waiting", rate=RATE, count=count, order=_order, insist=True, at_once=_AT_ONCE
        )
        accepted = len(sent.due)
        waiting = await _until(site, "submitting", "receipts_held", accepted, _SUBMITTED_WITHIN)
        suspended = await _suspended(site, accepted)
        restarted = await _restart_each(site)
        still_suspended = await _suspended(site, accepted)
        still_waiting = int((await site.smsc.stats())["receipts_held"])
        released = time.time()
        await site.smsc.set(hold_receipts=False)
        acknowledged = await _until(
            site, "receipts", "receipts_acked", accepted, 2 * _RECEIPTS_WITHIN
        )
        took = time.time() - released if acknowledged >= accepted else None
        books = await site.settle({TENANT: sent}, _DRAIN)
        ended = time.time() - released
    seen = await site.seen()
    receipts = _receipts(await site.smsc.accepted())
    messages = list(books.ended.values())
    return (
        ACCEPTED.check(accepted, count),
        REFUSED.check(sum(sent.refused.values())),
        asked_again(sent),
        WAITING.check(waiting, accepted),
        SUSPENDED.check(suspended, accepted),
        RESTARTED.check(restarted),
        STILL_WAITING.check(still_waiting, accepted),
        STILL_SUSPENDED.check(still_suspended, accepted),
        RECEIPTS.check(took),
        DELIVERED.check(sum(m.status is Status.DELIVERED for m in messages), accepted),
        EARLY.check(early(books.ended, receipts)),
        TWICE.check(seen.duplicates + _completed_twice(messages)),
        ENDPOINT.check(series.peak_mb("endpoint")),
        POOL.check(series.peak_mb("pool")),
        *_reported(series, ended),
        *books.checks(seen),
    )


def _order(number: int, text: str) -> dict[str, Any]:
    step = {"channel": "sms", "timeout": _STEP_TIMEOUT}
    order = {**one_time_password(number, text), "plan": [step]}
    return {**order, "category": "transactional"}


async def _until(site: Site, phase: str, counter: str, wanted: int, patience: float) -> int:
    """Wait until the simulator's counter is there, and show it; what it was in the end."""
    deadline = time.monotonic() + patience
    while True:
        reached = int((await site.smsc.stats())[counter])
        site.run.progress(phase, reached, wanted)
        if reached >= wanted or time.monotonic() > deadline:
            return reached
        await asyncio.sleep(_LOOK_EVERY)


async def _suspended(site: Site, wanted: int) -> int:
    """Handlers that hold neither a slot in restate-server nor memory in the endpoint."""
    deadline = time.monotonic() + _SUSPENDED_WITHIN
    while True:
        found = await asyncio.to_thread(_count_suspended, site.stack.admin_url)
        site.run.progress("suspended", found, wanted)
        if found >= wanted or time.monotonic() > deadline:
            return found
        await asyncio.sleep(_LOOK_EVERY)


def _count_suspended(admin_url: str) -> int:
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{admin_url}/query",
        data=json.dumps({"query": _SUSPENDED}).encode(),
        headers={"content-type": "application/json", "accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return int(json.loads(answer.read())["rows"][0]["n"])


async def _restart_each(site: Site) -> int:
    """End every process by SIGTERM, one after the other, and wait for its successor; how many."""
    restarted = 0
    for name in EVERYTHING:
        site.run.phase(f"restarting: {name}")
        before = site.stack.pid(name)
        site.stack.kill(name, signal.SIGTERM)
        await asyncio.to_thread(site.stack.wait_ready, name, _READY_WITHIN)
        restarted += site.stack.pid(name) != before
    return restarted


def early(ended: Mapping[str, LoggedMessage], receipts: Mapping[str, float]) -> int:
    """How many messages, by text, ended before the first receipt of theirs was sent."""
    return sum(
        message.ended_at is None or message.ended_at.timestamp() < receipts.get(text, math.inf)
        for text, message in ended.items()
    )


def _receipts(accepted: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """When the first receipt of each text was sent, of those that were."""
    sent = {entry["text"]: [at for at in entry["receipts_at"] if at] for entry in accepted}
    return {text: min(times) for text, times in sent.items() if times}


def _completed_twice(messages: Iterable[LoggedMessage]) -> int:
    return sum(
        sum(entry.event is Event.RECEIPT for entry in timeline(message)) > 1 for message in messages
    )


def _reported(series: Series, ended: float) -> Iterable[Check]:
    """What has no bar."""
    for name in EVERYTHING:
        if name not in ("endpoint", "pool"):
            yield Check(f"{name}'s memory at its peak, MB", series.peak_mb(name), "any", ok=True)
    last = round(ended, 1)
    yield Check("from the first receipt to the last message's end, s", last, "any", ok=True)


SCENARIO = Scenario(
    "in-flight",
    f"{MESSAGES:,} messages wait for their receipts, every process is restarted, then all come; "
    f"--duration scales it, {RATE:.0f} messages a second",
    (
        *(ACCEPTED, REFUSED, WAITING, SUSPENDED, RESTARTED, STILL_WAITING, STILL_SUSPENDED),
        *(RECEIPTS, DELIVERED, EARLY, TWICE, ENDPOINT, POOL, *CONSERVATION),
    ),
    run,
    duration=MESSAGES / RATE,
)
