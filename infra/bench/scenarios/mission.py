"""[mission] What Hermes is for, all at once: SMS with receipts, e-mail, push, and a tenth of the
SMS that fall over, first at a rate with room for single steps, then at a thousand a second; then
SMS alone, as many as it takes."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import uvloop

from domain.ports import LoggedMessage
from domain.timeline import Event, Status
from infra.bench import meter, report
from infra.bench.ledger import IN_FLIGHT, LOST, Books, timeline
from infra.bench.load import Sent, allow_connections, one_time_password, recipient
from infra.bench.report import Plot
from infra.bench.saturation import Measured, saturate
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, below, exactly, percentile
from infra.bench.series import Series, followed
from infra.bench.sides import BARS, Sides, sides
from infra.bench.site import EVERYTHING, TENANT, Peer, Site, site
from infra.bench.throughput import PRODUCT
from infra.local.demo_adapters import set_up_demo_adapters

RATE: Final = 1_000.0
CALM_RATE: Final = 200.0
_CALM_SECONDS: Final = 20.0
_ALONE_SECONDS: Final = 20.0
_PATIENCE: Final = 10.0
"""Seconds after which the client gives a request up."""
_CONNECTIONS: Final = round(RATE * _PATIENCE)
"""And requests at once: even if none is answered, each leaves when it is due."""
_DRAIN: Final = 300.0
_UNDELIVERABLE: Final = "+4520109903"
"""The simulator's receipt says UNDELIV."""
_SILENT: Final = "+4520109902"
"""No receipt ever comes."""
_SILENT_FOR: Final = 3.0
_WELL: Final = (Status.DELIVERED, Status.SENT)

STEP = below("cascade step to the carrier's answer at 200/s, p99", 50, "ms")
LATE = below("fallback after a timeout at 200/s, p99 late", 100, "ms")
ACCEPTED = at_least("accepted", 0.99 * RATE, "messages/s")
ERRORS = exactly("refused, failed or expired", 0)
P99 = below("request to end of the accepted, p99", 2, "s")
CPU = at_most("SMS alone: CPU of one, all processes, restate-server included", 2.0, "ms")
ALONE = exactly("SMS alone: failed, expired or sent twice", 0)


@dataclass(frozen=True, slots=True)
class _Load:
    """What was sent, what came of it, the processors' time that it took, and its series."""

    sent: Sent
    books: Books
    cpu: float
    series: Series
    began: float

    @property
    def ended(self) -> Sequence[LoggedMessage]:
        return list(self.books.ended.values())


def run(run: Run) -> Sequence[Check]:
    """One stack with a carrier, a relay and the provider sandbox."""
    # Before anything starts: the API has the other ends.
    allow_connections(_CONNECTIONS)
    with site(
        run, Peer(flags=("--keep", "1000000")), components=(*EVERYTHING, "mail", "providers")
    ) as stage:
        set_up_demo_adapters(stage.stack)
        calm, full, others, alone = uvloop.run(_measure(stage))
    books = calm.books + full.books
    well = sum(message.status in _WELL for message in books.ended.values())
    refused = sum(calm.sent.refused.values()) + sum(full.sent.refused.values())
    checks = (
        STEP.check(percentile(list(_steps(calm.ended)), 99)),
        LATE.check(percentile(list(_late(calm.ended)), 99)),
        *offered(full.sent, run.duration),
        ACCEPTED.check(len(full.sent.due) / max(run.duration, _took(full))),
        ERRORS.check(refused + len(books.ended) - well),
        P99.check(percentile(_seconds(full), 99)),
        *_told(full),
        CPU.check(alone.price),
        ALONE.check(alone.otherwise + alone.copies),
        Check("SMS alone: delivered, messages/s", round(alone.rate, 1), "any", ok=True),
        Check("SMS alone: requests refused", alone.refused, "any", ok=True),
        LOST.check(books.lost + alone.lost),
        IN_FLIGHT.check(len(books.in_flight)),
        *others.checks(books, calm.sent.unsure | full.sent.unsure),
    )
    report.write(run.report, f"{RATE:,.0f} messages a second, mixed", checks, _plots(full))
    return checks


async def _measure(site: Site) -> tuple[_Load, _Load, Sides, Measured]:
    await site.warm_up()
    before = await sides(site)
    calm = await _load(site, "calm", CALM_RATE, min(_CALM_SECONDS, site.run.duration), _calm)
    full = await _load(site, "mission", RATE, site.run.duration, _mixed)
    others = (await sides(site)).since(before)
    return calm, full, others, await _alone(site)


async def _alone(site: Site) -> Measured:
    """SMS and nothing else, as many as are taken."""
    seconds = min(_ALONE_SECONDS, site.run.duration)
    here = replace(site, run=replace(site.run, duration=seconds))
    return await saturate(here, lambda: {name: site.stack.pids()[name] for name in PRODUCT})


async def _load(site: Site, label: str, rate: float, seconds: float, order: Any) -> _Load:
    async with followed(site.stack, PRODUCT) as series:
        pids = {name: site.stack.pids()[name] for name in PRODUCT}
        before = sum(meter.cpu_seconds(pids).values())
        sent = await site.send(
            label,
            rate=rate,
            count=int(rate * seconds),
            order=order,
            at_once=_CONNECTIONS,
            connections=_CONNECTIONS,
            patience=_PATIENCE,
        )
        books = await site.settle({TENANT: sent}, _DRAIN)
        used = sum(meter.cpu_seconds(pids).values()) - before
    return _Load(sent, books, used, series, min(sent.due.values(), default=0.0))


def offered(sent: Sent, seconds: float) -> Iterable[Check]:
    """What left the client, and when, and what came back instead of an acceptance; no bars."""
    left = sent.left_at
    rate = len(left) / max(seconds, max(left, default=0.0) - min(left, default=0.0))
    yield Check("offered, messages/s", round(rate, 1), "any", ok=True)
    yield _shown("the client's own lag behind its schedule, p99, ms", sent.lag_ms)
    refused = ", ".join(f"{code}: {many:,}" for code, many in sorted(sent.refused.items()))
    yield Check("refused, by code", refused or "none", "any", ok=True)


def _told(load: _Load) -> Iterable[Check]:
    """What has no bar."""
    yield _shown("request to 202, p99, ms", load.sent.accept_ms)
    price = round(load.cpu * 1000 / len(load.ended), 3) if load.ended else None
    yield Check("the mix: CPU of one that ended, all processes, ms", price, "any", ok=True)


def _shown(name: str, values: Sequence[float]) -> Check:
    p99 = percentile(values, 99)
    return Check(name, None if p99 is None else round(p99, 1), "any", ok=True)


def _mixed(number: int, text: str) -> dict[str, Any]:
    """Of ten, seven are SMS, two are mails and one is a push; of the SMS every tenth fails and
    falls over to a mail."""
    kind = number % 10
    if kind == 9:
        return _order(text, {"push": f"device-{number:06}-of-the-mission"}, "push")
    if kind >= 7:
        return _order(text, {"email": _mailbox(number)}, "email")
    if number // 10 % 10 == 0:
        return _order(text, {"sms": _UNDELIVERABLE, "email": _mailbox(number)}, "sms", "email")
    return one_time_password(number, text)


def _calm(number: int, text: str) -> dict[str, Any]:
    """SMS; every tenth is one whose receipt never comes, and which falls over to a mail in time."""
    if number % 10:
        return one_time_password(number, text)
    order = _order(text, {"sms": _SILENT, "email": _mailbox(number)}, "sms", "email")
    order["plan"][0]["timeout"] = _SILENT_FOR
    return order


def _order(text: str, to: dict[str, str], *channels: str) -> dict[str, Any]:
    plan = [{"channel": channel, "timeout": 60} for channel in channels]
    content = {"text": text, "subject": "Hermes"}
    return {"to": to, "content": content, "plan": plan, "category": "transactional"}


def _mailbox(number: int) -> str:
    return f"{recipient(number)[1:]}@example.com"


def _steps(messages: Iterable[LoggedMessage]) -> Iterator[float]:
    """Milliseconds from a step's beginning until the provider took it."""
    for message in messages:
        begun = message.created_at
        for entry in timeline(message):
            if entry.event is Event.STEP:
                begun = entry.at
            elif entry.event is Event.SUBMITTED:
                yield (entry.at - begun).total_seconds() * 1000


def _late(messages: Iterable[LoggedMessage]) -> Iterator[float]:
    """Milliseconds between the time at which a step had to give up and the next one."""
    for message in messages:
        begun = [entry.at for entry in timeline(message) if entry.event is Event.STEP]
        timed_out = any(entry.event is Event.TIMEOUT for entry in timeline(message))
        if timed_out and len(begun) > 1:
            yield ((begun[1] - begun[0]).total_seconds() - _SILENT_FOR) * 1000


def _seconds(load: _Load) -> list[float]:
    """From when each request was due to the message's end."""
    return [
        message.ended_at.timestamp() - load.sent.due[message.id]
        for message in load.ended
        if message.ended_at is not None and message.status in _WELL
    ]


def _took(load: _Load) -> float:
    """Seconds from the first request to the last 202."""
    return max(load.sent.accepted_at, default=load.began) - load.began


def _plots(load: _Load) -> list[Plot]:
    accepted = Counter(int(at - load.began) for at in load.sent.accepted_at)
    ended: Counter[int] = Counter()
    took: defaultdict[int, list[float]] = defaultdict(list)
    for message in load.ended:
        if message.ended_at is not None:
            second = int(message.ended_at.timestamp() - load.began)
            ended[second] += 1
            took[second].append(message.ended_at.timestamp() - load.sent.due[message.id])
    seconds = list(range(max(itertools.chain(accepted, ended), default=0) + 1))
    busy = sorted(took)
    at = [moment - load.began for moment in load.series.at]
    return [
        Plot(
            "throughput",
            "Messages a second",
            "messages",
            {
                "accepted": (seconds, [accepted[s] for s in seconds]),
                "ended": (seconds, [ended[s] for s in seconds]),
            },
        ),
        Plot(
            "latency",
            "Request to end, of those that ended in a second",
            "seconds",
            {f"p{p}": (busy, [percentile(took[s], p) or 0.0 for s in busy]) for p in (50, 90, 99)},
        ),
        Plot(
            "cpu",
            "Processors in use",
            "processors",
            {name: (at, load.series.cpu[name]) for name in PRODUCT},
            stacked=True,
        ),
        Plot(
            "memory",
            "Resident memory",
            "MB",
            {name: (at, load.series.rss[name]) for name in PRODUCT},
        ),
    ]


SCENARIO = Scenario(
    "mission",
    f"{RATE:,.0f}/s through the API: 70 % SMS with receipts, 20 % e-mail, 10 % push, and a tenth "
    f"of the SMS falls over; then SMS alone",
    (STEP, LATE, ACCEPTED, ERRORS, P99, CPU, ALONE, LOST, IN_FLIGHT, *BARS),
    run,
    duration=300.0,
)
