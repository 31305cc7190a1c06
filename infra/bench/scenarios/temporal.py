"""[temporal] The same cascade on Hermes and on Temporal's dev server, turn by turn.

Both run for the whole time; who has its turn is under load and the other one idle. Of several
turns the medians count, and ratios are of turns that followed each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import uvloop

from infra.bench import meter
from infra.bench.closed_loop import keep_busy
from infra.bench.load import Sent, recipient, send
from infra.bench.rivals import Rival, hermes, temporal
from infra.bench.scenario import (
    Bar,
    Check,
    Run,
    Scenario,
    at_least,
    at_most,
    exactly,
    percentile,
)

_TURNS = 3
_QUICK, _LATER = 0.2, 1.5
"""Seconds until the carrier's receipt. Both sides let a submission's answer wait a second for it:
a quick one comes with the answer, a later one wakes a message that waits durably."""
_AT_ONCE = {"Hermes": 400, "Temporal": 80}
"""Messages under way in the closed loop: more than each engine's rate times the seconds that a
message takes. Of 150, 400 and 1,000 for Hermes, and 20, 50 and 100 for Temporal: with 1,000 a busy
machine ends none within a turn's time, and with 100 Temporal's server begins to give up."""
_LOOK_EVERY = {"Hermes": 0.1, "Temporal": 0.25}
"""Seconds. A look is a query that Temporal's server pays for; Hermes's log is read as a file, so
we do. The fewer, the less of that stands in its price."""
_WARM_UP = 5.0
_RAMP = 4.0
"""Seconds at a turn's beginning that its rate leaves out: nothing has come to its end yet."""
_FALLBACK_EVERY = 10
"""One message in so many has no receipt, ever, and goes by e-mail after its step's timeout."""
_NO_RECEIPT_TIMEOUT = 2.0
_TIMEOUT = 60.0
_COMMON = 0.4
"""Of Temporal's throughput: a rate that both can do with ease."""
_KILL_AFTER = 0.5
"""Of the load's time."""
_DRAIN = 90.0

THROUGHPUT = at_least("throughput, times Temporal's", 15)
CPU = at_least("CPU a message, of which Temporal needs so many times as much", 15)
RATE = at_least("throughput", "Temporal's", "messages/s")
PRICE = at_most("CPU a message, server and workers", "Temporal's", "ms")
QUICK_THROUGHPUT = at_least("the same with quick receipts: throughput, times Temporal's", 15)
QUICK_CPU = at_least("the same with quick receipts: CPU, Temporal's times", 15)
QUICK_RATE = at_least("the same with quick receipts: throughput", "Temporal's", "messages/s")
QUICK_PRICE = at_most("the same with quick receipts: CPU a message", "Temporal's", "ms")
P50 = at_most("p50 from request to end, at a rate that both can do", "Temporal's", "ms")
P99 = at_most("p99 from request to end, at a rate that both can do", "Temporal's", "ms")
LATE = at_most("p99 from a step's timeout to the end by e-mail", "Temporal's", "ms")
RECOVERY = at_most("first end after kill -9 of server and workers", "Temporal's", "s")
CAUGHT_UP = at_most("last end, of those begun before the kill", "Temporal's", "s")
LOST = exactly("lost", 0)
LOST_THERE = exactly("lost by Temporal", 0)
UNTAKEN = exactly("ended, and the carrier never took it", 0)
UNTAKEN_THERE = exactly("ended by Temporal, and the carrier never took it", 0)
REFUSED = exactly("requests refused at the common rate", 0)
REFUSED_THERE = exactly("requests refused by Temporal at the common rate", 0)
COPIES = exactly("sent twice", 0)
COPIES_THERE = exactly("sent twice by Temporal", 0)


@dataclass
class Turns:
    """Of each turn, messages/s and CPU a message in ms."""

    rates: list[float] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)


@dataclass
class Seen:
    """What one engine did. `turns` by the seconds until a receipt; at the common rate, ms; after
    the kill, seconds. `ended` are the texts of all messages that came to an end, `held` of those
    that were under way at the kill; `refused` counts the requests at the common rate."""

    turns: dict[float, Turns] = field(default_factory=lambda: {_LATER: Turns(), _QUICK: Turns()})
    ended_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    first_s: float | None = None
    last_s: float | None = None
    lost: int = 0
    ended: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    refused: int = 0


def run(run: Run) -> Sequence[Check]:
    """Start both, measure them in turn."""
    with temporal(run) as theirs, hermes(run) as ours:
        return uvloop.run(_measure(run, ours, theirs))


async def _measure(run: Run, ours: Rival, theirs: Rival) -> Sequence[Check]:
    rivals = (ours, theirs)
    seen = {rival.name: Seen() for rival in rivals}
    for delay in (_LATER, _QUICK):
        for rival in rivals:
            await rival.smsc.set(receipt_delay=delay)
            await _busy(
                run, rival, Seen(), Turns(), f"{rival.name}, {delay:g} s, warm-up", _WARM_UP
            )
        for turn in range(1, _TURNS + 1):
            # Each is first in its turn, now and then.
            for rival in rivals if turn % 2 else reversed(rivals):
                its = seen[rival.name]
                label = f"{rival.name}, receipt after {delay:g} s, turn {turn} of {_TURNS}"
                await _busy(run, rival, its, its.turns[delay], label, run.duration)
    # Latency and recovery are those of the engines: with quick receipts, little waits.
    rate = max(_COMMON * median(seen[theirs.name].turns[_QUICK].rates), 1.0)
    for rival in rivals:
        await _steady(run, rival, seen[rival.name], rate)
    for rival in rivals:
        await _killed(run, rival, seen[rival.name], rate)
    return await _checks(ours, theirs, seen[ours.name], seen[theirs.name])


def _order(number: int, text: str) -> dict[str, Any]:
    """SMS, and e-mail for those whose receipt never comes. An outcome that nobody knows is not
    sent again, as in the prototype."""
    silent = _falls_over(number)
    return {
        "to": {
            "sms": f"+45201{number // _FALLBACK_EVERY % 10}9902" if silent else recipient(number),
            "email": f"person-{number}@example.com",
        },
        "content": {"text": text, "subject": "Your code"},
        "plan": [
            {"channel": "sms", "timeout": _NO_RECEIPT_TIMEOUT if silent else _TIMEOUT},
            {"channel": "email", "timeout": _TIMEOUT},
        ],
        "category": "otp",
        "delivery_policy": "at_most_once",
    }


def _number(text: str) -> int:
    """What a text's order was made from, see `load.send`."""
    return int(text.partition(":")[0].rpartition(" ")[2])


def _falls_over(number: int) -> bool:
    return number % _FALLBACK_EVERY == _FALLBACK_EVERY - 1


async def _busy(
    run: Run, rival: Rival, seen: Seen, turns: Turns, label: str, seconds: float
) -> None:
    """One turn of the closed loop: how many messages end, and what each costs."""
    run.phase(label)
    pids = rival.pids()
    before, began = _cpu(pids), time.time()
    sent = await keep_busy(
        rival.url,
        rival.key,
        lambda: asyncio.to_thread(rival.in_flight),
        at_once=_AT_ONCE[rival.name],
        look_every=_LOOK_EVERY[rival.name],
        seconds=seconds,
        label=label,
        order=_order,
    )
    stopped = time.time()
    await _quiet(rival)
    if (now := rival.pids()) != pids:
        raise RuntimeError(f"{label}: of {pids} are left {now}, and CPU time went with the others")
    used = _cpu(pids) - before
    ended = await _drained(rival, sent, seen)
    counted_from = began + _RAMP
    counted = sum(counted_from <= at < stopped for at in ended.values())
    turns.rates.append(counted / (stopped - counted_from))
    turns.prices.append(used * 1000 / max(len(ended), 1))


async def _steady(run: Run, rival: Rival, seen: Seen, rate: float) -> None:
    """Open loop at the common rate: how long messages take."""
    label = f"{rival.name}, {rate:.1f}/s"
    run.phase(label)
    count = max(int(rate * run.duration), _FALLBACK_EVERY)
    sent = await send(rival.url, rival.key, rate=rate, count=count, label=label, order=_order)
    seen.refused += sum(sent.refused.values())
    ended = await _drained(rival, sent, seen)
    for message, at in ended.items():
        took = (at - sent.due[message]) * 1000
        if _falls_over(_number(sent.texts[message])):
            seen.late_ms.append(took - _NO_RECEIPT_TIMEOUT * 1000)
        else:
            seen.ended_ms.append(took)


async def _killed(run: Run, rival: Rival, seen: Seen, rate: float) -> None:
    """The same with kill -9 of server and workers in the middle; the client insists."""
    label = f"{rival.name}, killed at {rate:.1f}/s"
    run.phase(label)
    load = asyncio.create_task(
        send(
            rival.url,
            rival.key,
            rate=rate,
            count=max(int(rate * run.duration), _FALLBACK_EVERY),
            label=label,
            order=_order,
            insist=True,
        )
    )
    await asyncio.sleep(run.duration * _KILL_AFTER)
    await asyncio.to_thread(rival.kill)
    killed_at = time.time()
    sent = await load
    seen.refused += sum(sent.refused.values())
    ended = await _drained(rival, sent, seen)
    after = sorted(at for at in ended.values() if at > killed_at)
    # Those that began before: the others' time is also the client's.
    held = {m: at for m, at in ended.items() if at > killed_at and sent.due[m] < killed_at}
    seen.held |= {sent.texts[message] for message in held}
    seen.first_s = after[0] - killed_at if after else None
    seen.last_s = max(held.values()) - killed_at if held else None


def _cpu(pids: Mapping[str, int]) -> float:
    return sum(meter.cpu_seconds(pids).values())


async def _quiet(rival: Rival) -> None:
    """Wait until nothing is under way, as long as the rest may take."""
    deadline = time.monotonic() + _DRAIN
    while await asyncio.to_thread(rival.in_flight) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_EVERY[rival.name])


async def _drained(rival: Rival, sent: Sent, seen: Seen) -> Mapping[str, float]:
    """When each of the messages ended, once all have or have had their time; what is left is
    lost."""
    deadline = time.monotonic() + _DRAIN
    ended: dict[str, float] = {}
    while len(ended) < len(sent.due) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_EVERY[rival.name])
        # Killed, its door may still be down; and what is begun is not counted at once.
        with contextlib.suppress(OSError):
            if not await asyncio.to_thread(rival.in_flight):
                found = await asyncio.to_thread(rival.ended)
                ended = {message: found[message] for message in sent.due if message in found}
    seen.lost += len(sent.due) - len(ended)
    seen.ended |= {sent.texts[message] for message in ended}
    return ended


async def _checks(ours: Rival, theirs: Rival, us: Seen, them: Seen) -> Sequence[Check]:
    later, there_later = us.turns[_LATER], them.turns[_LATER]
    quick, there_quick = us.turns[_QUICK], them.turns[_QUICK]
    by_carrier, there_by_carrier = await ours.smsc.taken(), await theirs.smsc.taken()
    by_mail = await asyncio.to_thread(ours.mailed)
    there_by_mail = await asyncio.to_thread(theirs.mailed)
    return (
        THROUGHPUT.check(_times(later.rates, there_later.rates)),
        CPU.check(_times(there_later.prices, later.prices)),
        _beside(RATE, median(later.rates), median(there_later.rates)),
        _beside(PRICE, median(later.prices), median(there_later.prices)),
        QUICK_THROUGHPUT.check(_times(quick.rates, there_quick.rates)),
        QUICK_CPU.check(_times(there_quick.prices, quick.prices)),
        _beside(QUICK_RATE, median(quick.rates), median(there_quick.rates)),
        _beside(QUICK_PRICE, median(quick.prices), median(there_quick.prices)),
        _beside(P50, percentile(us.ended_ms, 50), percentile(them.ended_ms, 50)),
        _beside(P99, percentile(us.ended_ms, 99), percentile(them.ended_ms, 99)),
        _beside(LATE, percentile(us.late_ms, 99), percentile(them.late_ms, 99)),
        _beside(RECOVERY, us.first_s, them.first_s),
        _beside(CAUGHT_UP, us.last_s, them.last_s),
        LOST.check(us.lost),
        LOST_THERE.check(them.lost),
        UNTAKEN.check(len(untaken(us.ended, us.held, by_carrier, by_mail))),
        UNTAKEN_THERE.check(len(untaken(them.ended, them.held, there_by_carrier, there_by_mail))),
        REFUSED.check(us.refused),
        REFUSED_THERE.check(them.refused),
        COPIES.check(_copies(by_carrier, by_mail)),
        COPIES_THERE.check(_copies(there_by_carrier, there_by_mail)),
    )


def untaken(
    ended: Collection[str],
    held: Collection[str],
    by_carrier: Mapping[str, int],
    by_mail: Mapping[str, int],
) -> set[str]:
    """Of the texts that `ended`, those that the carrier did not take, and those that fall over and
    were not mailed, too. Of those that the kill `held`, an attempt may have died unheard, which is
    not sent again: one of the two will do."""

    def arrived(text: str) -> bool:
        if text in held:
            return text in by_carrier or text in by_mail
        return text in by_carrier and (text in by_mail or not _falls_over(_number(text)))

    return {text for text in ended if not arrived(text)}


def _times(more: Sequence[float], less: Sequence[float]) -> float | None:
    """The median of how many times one is the other, turn by turn."""
    if len(more) != len(less) or not all(less):
        return None
    return median(one / other for one, other in zip(more, less, strict=True))


def _beside(bar: Bar, ours: float | None, theirs: float | None) -> Check:
    """A figure beside the other engine's, which is None when there was nothing to measure."""
    return bar.check(None if theirs is None else ours, round(theirs or 0.0, 3))


def _copies(*sides: Mapping[str, int]) -> int:
    """Submissions and mails beyond the first of each text."""
    return sum(times - 1 for taken in sides for times in taken.values())


SCENARIO = Scenario(
    "temporal",
    "The same cascade on Temporal's dev server, turn by turn",
    (
        *(THROUGHPUT, CPU, RATE, PRICE),
        *(QUICK_THROUGHPUT, QUICK_CPU, QUICK_RATE, QUICK_PRICE),
        *(P50, P99, LATE, RECOVERY, CAUGHT_UP),
        *(LOST, LOST_THERE, UNTAKEN, UNTAKEN_THERE, REFUSED, REFUSED_THERE),
        *(COPIES, COPIES_THERE),
    ),
    run,
    duration=15.0,
)
