"""[chaos] Everything that can break breaks, by a seed, under a load of everything; and each message
is counted on both sides."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import json
import shutil
import sys
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from domain.cascade import MAX_RESENDS
from domain.message import DeliveryPolicy, MessageOrder
from domain.ports import LoggedMessage
from domain.timeline import Event, Status
from infra.bench.faults import Blow, carriers, clocks, disk, draw, processes, providers, strike
from infra.bench.faults.carriers import RESPONSE_DELAY
from infra.bench.ledger import DISAGREEMENTS, IN_FLIGHT, LOST, UNFLAGGED, Books, Seen, timeline
from infra.bench.load import BLOCK, Sent, one_time_password, recipient
from infra.bench.sandbox import Mailbox, Sandbox
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.bench.site import EVERYTHING, TENANT, Peer, Site, asked_again, site
from infra.local.demo_adapters import set_up_demo_adapters
from infra.local.demo_keys import ensure_demo_keys

RATE: Final = 60.0
"""Messages a second: about a third of what two cores carry, so that outages are made up for."""
_AT_ONCE: Final = 200
"""Requests unanswered: few enough that none of them waits for the others for longer than a client
would."""
_STEP_TIMEOUT: Final = 30.0
_SOON: Final = 6.0
"""Seconds: the timeout of a step that waits in vain, and a short life."""
_LATER: Final = 5.0
"""Seconds until a scheduled message is due; some are canceled before."""
_DRAIN: Final = 240.0
_CANCEL_EVERY: Final = 1.5
_CANCELED_AT_ONCE: Final = 1
"""A third of what is scheduled meanwhile: the rest is to be sent in time."""
_RELAY_TIMEOUT: Final = "5"
"""Seconds, less than the relay may be frozen."""
_SILENT: Final = "+4520109902"
"""A number from which no receipt ever comes."""
_UNDELIVERABLE: Final = "+4520109903"
_PREFIXES: Final = {
    "first": ["45"],
    "second": ["45", *(f"45201{block}" for block in range(0, 10, 2))],
}
"""Each carrier is preferred for half of the numbers, and takes the others when it must."""
_ALLOWED: Final = {DeliveryPolicy.AT_MOST_ONCE: 1, DeliveryPolicy.AT_LEAST_ONCE: 1 + MAX_RESENDS}
"""Copies on one channel: no plan here has a channel twice."""
_SHOWN: Final = 20
"""Messages of each kind that the evidence shows."""

FAULTS: Final = (
    *carriers.FAULTS,
    *processes.FAULTS,
    *providers.FAULTS,
    *disk.FAULTS,
    *clocks.FAULTS,
)

_WELL: Final = (Status.DELIVERED, Status.SENT, Status.CANCELED)
_MOST_ASTRAY: Final = 1.0
"""%, less than two seconds' load of the 180. No fault lasts as long as a step may take, so it is
for faults in a row on one channel; in three runs it was none of 16,000. A pool that does not come
back is above it half a minute later."""

STRUCK = at_least("faults that struck", 1)
MEANS = exactly("kinds of faults that this machine has no means for", 0)
REFUSED = exactly("requests refused for good", 0)
CANCELED = at_least("ended canceled", 1)
EXPIRED = at_least("ended expired", 1)
ASTRAY = at_most(
    "failed or expired for sure, though nothing in the order made it so", _MOST_ASTRAY, "%"
)
BEYOND = exactly("messages submitted more often than their policy allows", 0)


def run(run: Run, rate: float = RATE) -> Sequence[Check]:
    """Two carriers, a relay and three HTTP providers; the seed says what happens when."""
    peers = [
        Peer(
            name,
            flags=("--response-delay", str(RESPONSE_DELAY)),
            account={"window": 20, "binds": 2, "response_timeout": 5.0, "prefixes": prefixes},
        )
        for name, prefixes in _PREFIXES.items()
    ]
    blows = draw(run.seed, run.duration, FAULTS)
    # The stack makes them itself only where it starts its own API.
    data = run.directory / "data"
    data.mkdir(mode=0o700)
    keys = ensure_demo_keys(data, data / "hermes.db")
    with site(
        run,
        *peers,
        components=(*EVERYTHING, "mail", "providers"),
        commands=clocks.commands(run.directory),
        environment={"HERMES_EMAIL__TIMEOUT": _RELAY_TIMEOUT},
    ) as stage:
        stage.stack.keys = keys
        set_up_demo_adapters(stage.stack)
        return uvloop.run(_measure(stage, blows, rate))


async def _measure(site: Site, blows: Sequence[Blow], rate: float) -> Sequence[Check]:
    try:
        return await _break(site, blows, rate)
    except BaseException:
        _keep_logs(site)
        raise


async def _break(site: Site, blows: Sequence[Blow], rate: float) -> Sequence[Check]:
    await site.warm_up()
    canceling = asyncio.create_task(_cancel(site))
    breaking = asyncio.create_task(strike(site, blows))
    count = int(rate * site.run.duration)
    label = f"chaos-{site.run.seed}"
    sent = await site.send(
        label, rate=rate, count=count, order=_order, insist=True, at_once=_AT_ONCE
    )
    struck = await breaking
    canceling.cancel()
    # Not whatever else ended it, which nobody has seen yet.
    with contextlib.suppress(asyncio.CancelledError):
        await canceling
    books = await site.settle({TENANT: sent}, _DRAIN)
    sides = await _sides(site)
    wrong = {
        "disagreements": _union(books.disagreeing(seen, name) for name, seen in sides.items()),
        "unflagged": _union(books.without_flag(seen, name) for name, seen in sides.items()),
        "too often": _union(_too_often(books, seen) for seen in sides.values()),
        "in flight": set(books.in_flight),
        "astray": astray(books.ended),
    }
    plain = [
        m
        for m in books.ended.values()
        if m.status is not Status.CANCELED and not is_doomed(m.order)
    ]
    checks = (
        Check("seed", site.run.seed, "any", ok=True),
        STRUCK.check(struck.total()),
        *_by_kind(blows, struck),
        MEANS.check(sum(not fault.possible for fault in FAULTS)),
        REFUSED.check(sum(sent.refused.values())),
        asked_again(sent),
        LOST.check(books.lost),
        IN_FLIGHT.check(len(books.in_flight)),
        *_endings(books),
        ASTRAY.check(100 * len(wrong["astray"]) / len(plain) if plain else None),
        DISAGREEMENTS.check(len(wrong["disagreements"])),
        UNFLAGGED.check(len(wrong["unflagged"])),
        BEYOND.check(len(wrong["too often"])),
    )
    if not all(check.ok for check in checks):
        _keep_evidence(site, blows, struck, sent, books, sides, wrong)
    return checks


def _by_kind(blows: Sequence[Blow], struck: Mapping[str, int]) -> Iterator[Check]:
    """Of each kind of fault, how many struck; of what was drawn, some met nothing to break."""
    drawn = Counter(blow.fault.name for blow in blows)
    for fault in FAULTS:
        if not fault.possible:
            yield Check(f"of these, {fault.name}", "no means", "any", ok=True)
        elif many := drawn[fault.name]:
            said = f"{struck.get(fault.name, 0)} of {many}"
            yield Check(f"of these, {fault.name}", said, "any", ok=True)


def _endings(books: Books) -> Iterator[Check]:
    statuses = Counter(message.status for message in books.ended.values())
    for status in (Status.DELIVERED, Status.SENT, Status.FAILED):
        yield Check(f"ended {status.value}", statuses[status], "any", ok=True)
    yield EXPIRED.check(statuses[Status.EXPIRED])
    yield CANCELED.check(statuses[Status.CANCELED])


# --- the load


def _order(number: int, text: str) -> dict[str, Any]:
    """Of twenty: ten SMS, three that fall over to a mail, four mails by two ways, two pushes, and
    one that is scheduled, or too short-lived to arrive. Every second twenty is at_most_once."""
    kind, policy = number % 20, tuple(DeliveryPolicy)[number // 20 % 2].value
    to = {"sms": recipient(number * (BLOCK + 1)), "email": f"someone-{number:06}@example.com"}
    if kind < 10:
        order = _plan(to, _step("sms"))
    elif kind < 12:
        order = _plan({**to, "sms": _SILENT}, _step("sms", timeout=_SOON), _step("email"))
    elif kind < 13:
        order = _plan({**to, "sms": _UNDELIVERABLE}, _step("sms"), _step("email"))
    elif kind < 16:
        order = _plan(to, _step("email"))
    elif kind < 17:
        order = _plan(to, _step("email", provider="sendgrid", success="delivered"))
    elif kind < 19:
        order = _plan({"push": f"device-{number:06}-in-chaos"}, _step("push"))
    elif number // 20 % 3:
        order = _plan(to, _step("sms"))
        # Not before it is due by the client's clock; the API's may be another.
        order["send_at"] = (datetime.now(UTC) + timedelta(seconds=_LATER)).isoformat()
    else:
        order = {**_plan({"sms": _SILENT}, _step("sms", timeout=_SOON)), "ttl": _SOON}
    content = {"text": text, "subject": "Hermes"}
    category = one_time_password(number, text)["category"] if number % 3 else "transactional"
    return {**order, "content": content, "category": category, "delivery_policy": policy}


def _plan(to: Mapping[str, str], *steps: dict[str, Any]) -> dict[str, Any]:
    used = {step["channel"] for step in steps}
    return {"to": {c: address for c, address in to.items() if c in used}, "plan": list(steps)}


def _step(channel: str, timeout: float = _STEP_TIMEOUT, **more: str) -> dict[str, Any]:
    return {"channel": channel, "timeout": timeout, **more}


def is_doomed(order: MessageOrder) -> bool:
    """Whether the order itself keeps its message from arriving: an SMS to the silent number, with
    nothing after it."""
    return [step.channel for step in order.plan] == ["sms"] and order.to["sms"] == _SILENT


def astray(ended: Mapping[str, LoggedMessage]) -> set[str]:
    """Texts that certainly did not arrive though their orders let them. What may have arrived, and
    under at_most_once is not sent again, is no such thing."""
    return {
        text
        for text, message in ended.items()
        if message.status not in _WELL
        and not is_doomed(message.order)
        and not any(entry.event is Event.OUTCOME_UNKNOWN for entry in timeline(message))
    }


async def _cancel(site: Site) -> None:
    """Withdraw the newest of the scheduled messages, again and again."""
    while True:
        await asyncio.sleep(_CANCEL_EVERY)
        page = await _ask(site, "GET", f"?status=scheduled&limit={_CANCELED_AT_ONCE}")
        for message in (page or {}).get("data", ()):
            await _ask(site, "DELETE", f"/{message['id']}")


async def _ask(site: Site, method: str, path: str) -> Any:
    """An answer of the API's; None when it has none to give, which others insist on."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{site.stack.api_url}/v1/messages{path}",
        method=method,
        headers={"authorization": f"Bearer {site.stack.keys[TENANT]}"},
    )

    def ask() -> Any:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return json.loads(answer.read())
        # An answer that breaks off is neither of the other two.
        except (OSError, ValueError, http.client.HTTPException):
            return None

    return await asyncio.to_thread(ask)


# --- the other side


async def _sides(site: Site) -> dict[str, Seen]:
    """What was taken on each channel, by all of its providers together."""
    sandbox = Sandbox(site.stack.providers_url)
    seen = await site.seen()
    sms = Counter(seen.taken) + await sandbox.taken("twilio")
    mails = await Mailbox(site.stack.mail_url).taken() + await sandbox.taken("sendgrid")
    return {
        "sms": Seen(sms, seen.ids),
        "email": Seen(mails),
        "push": Seen(await sandbox.taken("fcm")),
    }


def _too_often(books: Books, seen: Seen) -> set[str]:
    """Texts that one channel took more often than once, and than may be sent again."""
    return {
        text
        for text, times in seen.copies.items()
        if text in books.ended and times > _ALLOWED[books.ended[text].order.policy]
    }


def _union(sets: Any) -> set[str]:
    return set().union(*sets)


# --- what is left for whoever looks for the cause


def _keep_evidence(
    site: Site,
    blows: Sequence[Blow],
    struck: Mapping[str, int],
    sent: Sent,
    books: Books,
    sides: Mapping[str, Seen],
    wrong: Mapping[str, Collection[str]],
) -> None:
    """The faults, the messages that are not as they should be, logs and databases."""
    place = _keep_logs(site)
    ids = {text: message for message, text in sent.texts.items()}
    lost = [text for text in ids if text not in books.ended and text not in books.in_flight]
    found = {
        "faults": [f"{blow.at:.1f} s: {blow.fault.name}" for blow in blows],
        "struck": struck,
        "refused": sent.refused,
        "statuses": collections.Counter(m.status.value for m in books.ended.values()),
        **{
            kind: [_shown(text, ids, books, sides) for text in sorted(texts)[:_SHOWN]]
            for kind, texts in {**wrong, "lost": set(lost)}.items()
        },
    }
    (place / "found.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def _keep_logs(site: Site) -> Path:
    """Logs and databases, where the next run does not remove them."""
    place = site.run.report.parent / f"chaos-seed-{site.run.seed}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(site.stack.data_dir / "logs", place / "logs")
    for name in ("hermes.db", "smpp.db"):
        for file in site.stack.data_dir.glob(f"{name}*"):
            shutil.copy2(file, place)
    sys.stderr.write(f"what was found is in {place}\n")
    return place


def _shown(
    text: str, ids: Mapping[str, str], books: Books, sides: Mapping[str, Seen]
) -> dict[str, Any]:
    message: LoggedMessage | None = books.ended.get(text)
    return {
        "text": text,
        "id": ids.get(text),
        "taken": {channel: seen.taken.get(text, 0) for channel, seen in sides.items()},
        "policy": message.order.policy.value if message else None,
        "timeline": message.record.timeline if message and message.record else None,
    }


SCENARIO = Scenario(
    "chaos",
    f"{len(FAULTS)} kinds of faults at random: ours, the carriers', the providers', the disk's, "
    "the clock's",
    (
        *(STRUCK, MEANS, REFUSED, LOST, IN_FLIGHT, EXPIRED, CANCELED, ASTRAY),
        *(DISAGREEMENTS, UNFLAGGED, BEYOND),
    ),
    run,
    duration=180.0,
)
