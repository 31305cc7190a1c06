"""Two processes that charge for messages and are killed, and a count of our own beside them.

This side plays Restate, which calls again what was not answered and knows what was; and it plays
the recipients' receipts. What each attempt must have cost is counted here, with a price list and
a rule written down once more, and no code of the billing's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import msgspec

from adapters.billing import accounts, prices
from adapters.billing.accounts import EntryKind
from adapters.billing.check import Finding, check
from adapters.store.change import change
from adapters.store.schema import open_store
from domain.billing.cost import Rule
from domain.billing.money import decimal, micros
from domain.billing.prices import PriceRow
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Content, Level, MessageOrder, Step
from domain.timeline import Entry, Event, Record, Status
from infra.bench.till_process import LIMIT, ROUTES, Answer, Call, Fate
from infra.local.stack import ROOT

PAID_IN = {"acme": "1000000", "poor": "2"}
"""What each tenant that pays in advance has; `open` has no account, and so no limit."""
TENANTS = ("acme", "acme", "acme", "acme", "open", "open", "poor")
TEXTS = {1: 160, 2: 306, 3: 307}
"""How long a text of so many segments is."""
NUMBERS = ("+4530123456", "+4520123456", "+4915112345")

# Tenant, route, prefix, price of a segment, rule: as an operator wrote it down.
LINES: tuple[tuple[str, str, str, str, Rule], ...] = (
    ("", "*", "", "0.0421", Rule.SUBMITTED),
    ("", "tdc", "", "0.0319", Rule.SUBMITTED),
    ("", "tdc", "45", "0.0075", Rule.SUBMITTED),
    ("", "tdc", "4520", "0.007333", Rule.DELIVERED),
    ("", "telia", "", "0.0501", Rule.DELIVERED),
    ("", "telia", "45", "0.0081", Rule.SUBMITTED),
    ("acme", "tdc", "45", "0.006", Rule.DELIVERED),
)
_WINDOW = 600
_PATIENCE = 5
_encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(Answer).decode

Progress = Callable[[int], None]


@dataclass
class Counted:
    """What came of a run: this side's count and the ledger's, by attempt, in the tenants' money."""

    messages: int = 0
    kills: int = 0
    repeated: int = 0
    refused: int = 0
    unknown: int = 0
    answers_that_changed: int = 0
    failed_calls: int = 0
    expected: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    ledger: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    by_tenant: dict[str, Decimal] = field(default_factory=dict)
    due_late: dict[str, Decimal] = field(default_factory=dict)
    balances: dict[str, Decimal] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong_attempts(self) -> list[tuple[str, int]]:
        """Attempts on which the two do not agree."""
        keys = self.expected.keys() | self.ledger.keys()
        zero = Decimal(0)
        return [k for k in keys if self.expected.get(k, zero) != self.ledger.get(k, zero)]

    @property
    def difference(self) -> Decimal:
        """What all accounts are off by."""
        return sum(
            (
                abs(self.balances.get(tenant, Decimal(0)) - self._due(tenant))
                for tenant in {*TENANTS, *self.balances}
            ),
            Decimal(0),
        )

    @property
    def overdrawn(self) -> int:
        """Accounts paid in advance that are below zero, beyond what receipts made due after the
        messages' ends: that was given back before, and may have been spent."""
        zero = Decimal(0)
        return sum(
            self.balances.get(tenant, zero) + self.due_late.get(tenant, zero) < 0
            for tenant in PAID_IN
        )

    def _due(self, tenant: str) -> Decimal:
        paid = Decimal(PAID_IN.get(tenant, 0))
        return paid - self.by_tenant.get(tenant, Decimal(0))


class Died(Exception):
    """The process was killed before it answered."""


class Till:
    """One process, and its successors."""

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._process: asyncio.subprocess.Process | None = None
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = count(1)
        self._reading: asyncio.Task[None] | None = None
        self._alive = False

    async def start(self) -> None:
        """Start a process."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.bench.till_process", str(self._where),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=LIMIT,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        self._alive = True

    async def call(self, call: Call) -> Answer:
        """Its answer. Raises Died."""
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._alive:
            raise Died
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        self._process.stdin.write(_encode(msgspec.structs.replace(call, number=number)) + b"\n")
        return await answered

    async def kill(self) -> None:
        """Kill -9, and a new one in its place."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._ended()
        await self.start()

    async def stop(self) -> None:
        """Let it write what it has and end."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._ended()

    def take_down(self) -> None:
        """End it however it is."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _ended(self) -> None:
        assert self._process is not None
        await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if not line.endswith(b"\n"):
                break
            answer = _answer(line)
            answered = self._asked.pop(answer.number, None)
            if answered is not None and not answered.done():
                answered.set_result(answer)
        self._alive = False
        asked, self._asked = self._asked, {}
        for answered in asked.values():
            if not answered.done():
                answered.set_exception(Died())


def set_up(where: Path | str) -> None:
    """The price lists and the accounts."""
    long_ago = datetime.now(UTC) - timedelta(days=1)
    rows = [
        PriceRow(
            prices.new_id(), "sms", micros(amount), "EUR", long_ago, tenant, route, prefix, rule
        )
        for tenant, route, prefix, amount, rule in LINES
    ]
    with change(where, prices.SECTION, accounts.SECTION) as database:
        prices.add(database, rows, "operator")
        for tenant, amount in PAID_IN.items():
            accounts.set_terms(database, tenant, "EUR", 0, "operator")
            kind = EntryKind.TOP_UP
            accounts.post(database, tenant, "at first", kind, micros(amount), "", "operator")


async def run(
    where: Path | str,
    *,
    messages: int,
    kills: int,
    seed: int,
    progress: Progress = lambda done: None,
) -> Counted:
    """Send messages through two processes, of which one is killed now and then, and count."""
    # What is written to a process that was just killed.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    set_up(where)
    counted = Counted(messages=messages)
    tills = [Till(where), Till(where)]
    try:
        for till in tills:
            await till.start()
        stories = _Stories(tills, counted, seed)
        window = asyncio.Semaphore(_WINDOW)
        due = [messages * (n + 1) // (kills + 1) for n in range(kills)]

        async def one(number: int) -> None:
            try:
                await stories.tell(number)
            finally:
                window.release()

        async with asyncio.TaskGroup() as group:
            for number in range(messages):
                if due and number >= due[0]:
                    due.pop(0)
                    await tills[counted.kills % 2].kill()
                    counted.kills += 1
                await window.acquire()
                group.create_task(one(number))
                if number % 100 == 0:
                    progress(number)
        for till in tills:
            await till.stop()
    finally:
        for till in tills:
            till.take_down()
    _look(where, counted)
    return counted


class _Stories:
    def __init__(self, tills: list[Till], counted: Counted, seed: int) -> None:
        self._tills = tills
        self._counted = counted
        self._seed = seed

    async def tell(self, number: int) -> None:
        """One message, from its first attempt to what comes after its end."""
        chance = random.Random(f"{self._seed}/{number}")
        message, tenant = f"msg_{number:08d}", chance.choice(TENANTS)
        to, now = chance.choice(NUMBERS), datetime.now(UTC)
        segments = chance.choice((1, 1, 1, 2, 3))
        order = MessageOrder(
            tenant=tenant,
            to={"sms": to},
            content=Content(""),
            plan=(Step("sms", 30.0, Level.DELIVERED),),
            accepted_at=now,
            expires_at=now + timedelta(hours=1),
        )
        timeline: list[Entry] = []
        late: list[Entry] = []
        for attempt in range(1, 4):
            submission = await self._submit(chance, message, attempt, tenant, to, segments)
            if submission.state is SubmissionState.FAILED:
                continue
            timeline.append(_line(submission, attempt))
            level, is_late = _receipt(chance, submission)
            proof = None
            if level is not None:
                failure = None if level != "failed" else Failure(FailureCode.RECIPIENT_EXPIRED)
                proven = Level(level) if failure is None else None
                proof = Entry(
                    submission.at, Event.RECEIPT, attempt=attempt, level=proven, failure=failure,
                    receipt_id=f"{message}/{attempt}", late=is_late,
                )  # fmt: skip
                (late if is_late else timeline).append(proof)
            self._expect(message, attempt, tenant, to, segments, submission, proof)
            if submission.state is SubmissionState.TAKEN or proof is not None:
                break
            self._counted.unknown += 1
        record = Record(Status.FAILED, timeline, ended_at=datetime.now(UTC))
        for _ in range(2 if chance.random() < 0.03 else 1):
            await self._call(chance, Call(0, message=message, order=order, record=record))
        for entry in late:
            for _ in range(chance.choice((1, 1, 2))):
                await self._call(chance, Call(0, message=message, late=entry))

    async def _submit(
        self,
        chance: random.Random,
        message: str,
        attempt: int,
        tenant: str,
        to: str,
        segments: int,
    ) -> Submission:
        """One attempt, until it is more than busy."""
        state = chance.choices(list(SubmissionState), (80, 8, 6, 6))[0]
        fate = Fate(state, chance.choice(ROUTES))
        for turn in range(_PATIENCE):
            if turn:
                fate = msgspec.structs.replace(fate, state=SubmissionState.TAKEN)
            request = DeliveryRequest(
                message=message,
                attempt=attempt,
                tenant=tenant,
                to=to,
                content=Content("x" * TEXTS[segments], subject=_encode(fate).decode()),
                receipt_ref="",
                not_after=datetime.now(UTC) + timedelta(minutes=1),
            )
            submission = await self._deliver(chance, request)
            if submission.state is not SubmissionState.BUSY:
                if submission.state is not SubmissionState.FAILED and chance.random() < 0.03:
                    # As if the answer had been lost on its way.
                    self._counted.repeated += 1
                    again = await self._deliver(chance, request)
                    self._counted.answers_that_changed += _differ(submission, again)
                    submission = again
                failure = submission.failure
                if failure is not None and failure.code is FailureCode.INSUFFICIENT_FUNDS:
                    self._counted.refused += 1
                return submission
            if submission.failure is not None:
                await asyncio.sleep(0.05 * 2**turn)
        return Submission(SubmissionState.FAILED, at=datetime.now(UTC))

    async def _deliver(self, chance: random.Random, request: DeliveryRequest) -> Submission:
        answer = await self._call(chance, Call(0, request=request))
        assert answer.submission is not None
        return answer.submission

    async def _call(self, chance: random.Random, call: Call) -> Answer:
        """Of either process, and again of the other if it dies over it."""
        till = chance.choice(self._tills)
        while True:
            try:
                answer = await till.call(call)
            except Died:
                till = self._tills[1 - self._tills.index(till)]
                await asyncio.sleep(0.01)
                continue
            if answer.failed is None:
                return answer
            self._counted.failed_calls += 1
            await asyncio.sleep(0.5)

    def _expect(
        self,
        message: str,
        attempt: int,
        tenant: str,
        to: str,
        segments: int,
        submission: Submission,
        proof: Entry | None,
    ) -> None:
        """This side's own count of what the attempt costs."""
        routes = ROUTES if submission.provider is None else (submission.provider,)
        price, rule = max((_price(tenant, route, to) for route in routes), key=lambda one: one[0])
        taken = submission.state is SubmissionState.TAKEN
        arrived = proof is not None and proof.level is Level.DELIVERED
        owed = arrived if rule is Rule.DELIVERED else taken or proof is not None
        amount = price * segments if owed else Decimal(0)
        self._counted.expected[message, attempt] = amount
        sums = [self._counted.by_tenant]
        if proof is not None and proof.late and not (taken and rule is Rule.SUBMITTED):
            sums.append(self._counted.due_late)
        for due in sums:
            due[tenant] = due.get(tenant, Decimal(0)) + amount


def _price(tenant: str, route: str, to: str) -> tuple[Decimal, Rule]:
    """The line of LINES that applies, looked for in the plainest way."""
    fitting = [
        (owner == tenant, name == route, len(prefix), Decimal(amount), rule)
        for owner, name, prefix, amount, rule in LINES
        if owner in ("", tenant) and name in ("*", route) and to[1:].startswith(prefix)
    ]
    _, _, _, amount, rule = max(fitting, key=lambda line: line[:3])
    return amount, rule


def _receipt(chance: random.Random, submission: Submission) -> tuple[str | None, bool]:
    """What the recipient's side reports, and whether after the message's end."""
    if submission.state is SubmissionState.UNKNOWN:
        level = chance.choices((None, "delivered", "failed"), (50, 35, 15))[0]
    else:
        level = chance.choices((None, "delivered", "failed", "sent"), (12, 70, 12, 6))[0]
    return level, chance.random() < 0.15


def _line(submission: Submission, attempt: int) -> Entry:
    taken = submission.state is SubmissionState.TAKEN
    return Entry(
        submission.at,
        Event.SUBMITTED if taken else Event.OUTCOME_UNKNOWN,
        attempt=attempt,
        channel="sms",
        provider=submission.provider,
        level=submission.level,
        segments=submission.segments,
        cost=submission.cost,
    )


def _differ(first: Submission, again: Submission) -> bool:
    return (first.state, first.provider, first.cost) != (again.state, again.provider, again.cost)


def _look(where: Path | str, counted: Counted) -> None:
    with closing(open_store(where, "hermes")) as database:
        rows = database.execute(
            "SELECT message, attempt, CAST(SUM(amount) AS INTEGER) FROM ledger"
            " GROUP BY message, attempt"
        ).fetchall()
        counted.ledger = {(message, attempt): decimal(-amount) for message, attempt, amount in rows}
        sums = database.execute(
            "SELECT tenant, CAST(SUM(amount) AS INTEGER) FROM balances GROUP BY tenant"
        ).fetchall()
        counted.balances = {tenant: decimal(amount) for tenant, amount in sums}
    counted.findings = check(where)
