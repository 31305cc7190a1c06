"""What an attempt costs, around its delivery and at its message's end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.billing.check import check
from adapters.billing.leftovers import settle_leftovers
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.store.schema import open_store
from domain.billing.cost import Cost, Rule
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Content, Level, MessageOrder, Step
from domain.timeline import Entry, Event, Record, Status
from handlers.delivery.charging import Charging, begun_before
from tests.unit.billing.conftest import Money

NOW = datetime.now(UTC)
REQUEST = DeliveryRequest(
    message="msg_1",
    attempt=1,
    tenant="acme",
    to="+4520123456",
    content=Content("Hello"),
    receipt_ref="sign_1",
    not_after=NOW + timedelta(minutes=1),
)
ORDER = MessageOrder(
    tenant="acme",
    to={"sms": "+4520123456"},
    content=Content("Hello"),
    plan=(Step("sms", 30.0, Level.DELIVERED),),
    accepted_at=NOW,
    expires_at=NOW + timedelta(hours=1),
)
TAKEN = Submission(SubmissionState.TAKEN, at=NOW, provider="tdc", level=Level.SENT, segments=1)
UNKNOWN = Submission(
    SubmissionState.UNKNOWN, at=NOW, provider="tdc", failure=Failure(FailureCode.OUTCOME_UNKNOWN)
)
BUSY = Submission(SubmissionState.BUSY, at=NOW, provider="tdc", retry_after=1.0)
FAILED = Submission(SubmissionState.FAILED, at=NOW, failure=Failure(FailureCode.RECIPIENT_INVALID))


class Process:
    """One process that delivers and logs. `answers` is what its provider says, in turn."""

    def __init__(self, money: Money) -> None:
        self.money = money
        self.spending = money.process()
        self.charging = Charging(money.lists, self.spending, lambda: NOW)
        self.attempts = SqliteAttemptJournal(money.where)
        self.log = SqliteMessageLog(money.where, Places(bytes(32)))
        self.answers: list[Submission] = []
        self.routes: tuple[str, ...] = ("tdc", "telia")
        self.candidates: tuple[str, ...] | None = None
        self.limits: list[tuple[str, ...]] = []
        self.handed_over = 0

    async def deliver(self, request: DeliveryRequest = REQUEST, channel: str = "sms"):
        """One call of Restate's."""
        around = self.charging.around(
            channel,
            lambda _: self.routes,
            begun_before(self.attempts),
            lambda _: self.routes if self.candidates is None else self.candidates,
        )
        return await around(request, self._hand_over)

    async def _hand_over(self, request: DeliveryRequest) -> Submission:
        self.limits.append(request.carriers)
        if not await self.attempts.begin(request.message, request.attempt):
            return await self.attempts.outcome(request.message, request.attempt)
        self.handed_over += 1
        answer = self.answers.pop(0)
        await self.attempts.settle(request.message, request.attempt, answer)
        return answer

    async def end(self, *entries: Entry, status: Status = Status.DELIVERED) -> None:
        """The message's end, with these lines in its timeline."""
        record = Record(status, list(entries), ended_at=NOW + timedelta(seconds=9))
        await self.log.ended("msg_1", ORDER, record)

    async def bill(self) -> list[tuple[str, int]]:
        """What the ledger has for the message."""
        await self.spending.flush()
        found = await self.log.get("msg_1")
        if found is None:
            await self.log.accepted("msg_1", ORDER)
            found = await self.log.get("msg_1")
        assert found is not None
        return [(one.kind.value, one.amount) for one in found.bill]

    async def close(self) -> None:
        await self.attempts.close()
        await self.log.close()


@pytest.fixture
async def process(money: Money) -> AsyncIterator[Process]:
    running = Process(money)
    yield running
    await running.close()


def told(submission: Submission, attempt: int = 1, **facts: Any) -> Entry:
    """The line that the cascade makes of an answer."""
    event = Event.SUBMITTED if submission.state is SubmissionState.TAKEN else Event.OUTCOME_UNKNOWN
    return Entry(
        submission.at,
        event,
        attempt=attempt,
        channel="sms",
        provider=submission.provider,
        level=submission.level,
        cost=submission.cost,
        **facts,
    )


def receipt(level: Level) -> Entry:
    return Entry(NOW + timedelta(seconds=3), Event.RECEIPT, attempt=1, level=level)


async def test_what_has_no_price_leaves_no_trace(money: Money, process: Process):
    process.answers = [TAKEN]
    assert await process.deliver() == TAKEN
    money.price(50, channel="email")
    process.answers = [TAKEN]
    assert await process.deliver(msgspec.structs.replace(REQUEST, attempt=2)) == TAKEN
    await process.end(told(TAKEN))
    assert await process.bill() == []


async def test_owed_on_submission(money: Money, process: Process):
    money.account("acme", 1000)
    money.price(70)
    process.answers = [TAKEN]
    answer = await process.deliver()
    assert answer.cost == Cost(70, "EUR", Rule.SUBMITTED, 1)
    assert await process.bill() == [("charge", -70)]
    await process.end(told(answer), receipt(Level.DELIVERED))
    assert await process.bill() == [("charge", -70)]
    assert money.state("acme").balance == 930


@pytest.mark.parametrize(
    ("receipts", "bill", "balance"),
    [
        ([], [("release", 70), ("reserve", -70)], 1000),
        ([Level.SENT], [("release", 70), ("reserve", -70)], 1000),
        ([Level.DELIVERED], [("charge", -70), ("release", 70), ("reserve", -70)], 930),
    ],
)
async def test_owed_on_delivery(money: Money, process: Process, receipts, bill, balance):
    money.account("acme", 1000)
    money.price(70, Rule.DELIVERED)
    process.answers = [TAKEN]
    answer = await process.deliver()
    assert await process.bill() == [("reserve", -70)]
    state = money.state("acme")
    assert (state.balance, state.reserved) == (930, 70)
    await process.end(told(answer), *map(receipt, receipts))
    assert await process.bill() == bill
    state = money.state("acme")
    assert (state.balance, state.reserved) == (balance, 0)


async def test_a_receipt_after_the_end_is_still_owed(money: Money, process: Process):
    money.price(70, Rule.DELIVERED)
    process.answers = [TAKEN]
    answer = await process.deliver()
    await process.end(told(answer), status=Status.FAILED)
    for _ in range(2):
        await process.log.late_receipt("msg_1", receipt(Level.DELIVERED))
    assert await process.bill() == [("charge", -70), ("release", 70), ("reserve", -70)]


async def test_what_nobody_knows_is_owed_once_a_receipt_proves_it(money: Money, process: Process):
    money.price(70)
    process.answers = [UNKNOWN]
    answer = await process.deliver()
    assert answer.cost == Cost(70, "EUR", Rule.SUBMITTED, 1)
    await process.end(told(answer), status=Status.FAILED)
    assert await process.bill() == [("release", 70), ("reserve", -70)]
    await process.log.late_receipt("msg_1", receipt(Level.SENT))
    assert (await process.bill())[0] == ("charge", -70)


async def test_what_was_not_sent_costs_nothing(money: Money, process: Process):
    money.account("acme", 100)
    money.price(70)
    process.answers = [BUSY, FAILED]
    assert (await process.deliver()).cost is None
    assert (await process.deliver()).cost is None
    assert await process.bill() == []
    # All of it can be spent again.
    process.answers = [TAKEN]
    request = msgspec.structs.replace(REQUEST, attempt=2)
    assert (await process.deliver(request)).state is SubmissionState.TAKEN


async def test_the_dearest_route_is_set_aside_and_the_one_taken_is_paid(
    money: Money, process: Process
):
    money.account("acme", 100)
    money.price(40)
    money.price(90, route="telia")
    process.answers = [TAKEN]
    answer = await process.deliver()
    assert answer.cost is not None
    assert answer.cost.amount == 40
    assert process.limits == [()]


async def test_an_attempt_is_limited_to_the_routes_that_can_be_paid(money: Money, process: Process):
    money.account("acme", 100)
    money.price(40)
    money.price(90, route="telia")
    for attempt, limit in ((1, ()), (2, ("tdc",))):
        process.answers = [TAKEN]
        answer = await process.deliver(msgspec.structs.replace(REQUEST, attempt=attempt))
        assert answer.state is SubmissionState.TAKEN
        assert process.limits[-1] == limit
    await process.spending.flush()
    # 20 are left.
    refused = await process.deliver(msgspec.structs.replace(REQUEST, attempt=3))
    assert refused.failure == Failure(FailureCode.INSUFFICIENT_FUNDS)
    assert process.handed_over == 2
    assert money.state("acme").balance == 20


async def test_each_segment_counts_for_what_can_be_paid(money: Money, process: Process):
    money.account("acme", 100)
    money.price(40)
    money.price(60, route="telia")
    process.answers = [msgspec.structs.replace(TAKEN, segments=2)]
    answer = await process.deliver(msgspec.structs.replace(REQUEST, content=Content("x" * 161)))
    assert answer.cost == Cost(80, "EUR", Rule.SUBMITTED, 2)
    assert process.limits == [("tdc",)]


async def test_only_the_candidates_of_an_attempt_count(money: Money, process: Process):
    """A dear carrier that does not go there keeps nobody from sending."""
    money.account("acme", 50)
    money.price(40)
    money.price(90, route="telia")
    process.candidates, process.answers = ("tdc",), [TAKEN]
    assert (await process.deliver()).state is SubmissionState.TAKEN
    assert process.limits == [()]


async def test_a_free_route_is_no_way_out_of_an_empty_account(money: Money, process: Process):
    money.account("acme", 10)
    money.price(40, route="tdc")
    refused = await process.deliver()
    assert refused.failure == Failure(FailureCode.INSUFFICIENT_FUNDS)
    assert process.handed_over == 0


async def test_what_a_dear_route_took_before_a_crash_is_owed_at_its_price(
    money: Money, process: Process
):
    """The repeated call has money for the other route alone."""
    money.account("acme", 100)
    money.price(40)
    money.price(90, route="telia")
    process.answers = [msgspec.structs.replace(TAKEN, provider="telia")]
    first = await process.deliver()
    await process.spending.flush()
    money.pay("acme", 35)
    assert await process.deliver() == first
    assert process.limits == [(), ("tdc",)]
    assert process.handed_over == 1
    assert await process.bill() == [("charge", -90)]
    assert money.state("acme").balance == 45


@pytest.mark.parametrize(("text", "segments"), [("x" * 160, 1), ("x" * 161, 2), ("æ€😀" * 30, 2)])
async def test_each_segment_is_paid(money: Money, process: Process, text: str, segments: int):
    money.price(7)
    process.answers = [msgspec.structs.replace(TAKEN, segments=None)]
    answer = await process.deliver(msgspec.structs.replace(REQUEST, content=Content(text)))
    assert answer.cost == Cost(7 * segments, "EUR", Rule.SUBMITTED, segments)


async def test_an_account_that_is_used_up(money: Money, process: Process):
    money.account("acme", 100)
    money.price(70)
    process.answers = [TAKEN]
    await process.deliver()
    refused = await process.deliver(msgspec.structs.replace(REQUEST, attempt=2))
    assert refused.state is SubmissionState.FAILED
    assert refused.failure == Failure(FailureCode.INSUFFICIENT_FUNDS)
    assert refused.failure.permanent
    assert process.handed_over == 1
    assert money.empty("acme")


async def test_an_attempt_that_was_sent_before_is_not_refused_for_want_of_money(
    money: Money, process: Process
):
    """Killed between the provider's answer and Restate's; meanwhile the account ran dry."""
    money.account("acme", 100)
    money.price(70)
    process.answers = [TAKEN]
    first = await process.deliver()
    assert await process.deliver() == first
    assert process.handed_over == 1
    assert await process.bill() == [("charge", -70)]


async def test_a_call_that_breaks_off_gives_back_what_it_set_aside(money: Money, process: Process):
    money.account("acme", 100)
    money.price(70)
    with pytest.raises(IndexError):
        await process.deliver()
    process.answers = [TAKEN]
    request = msgspec.structs.replace(REQUEST, attempt=2)
    assert (await process.deliver(request)).state is SubmissionState.TAKEN


async def test_a_movement_that_was_lost_with_its_process_is_entered_at_the_end(
    money: Money, process: Process
):
    """Killed after the answer and before the ledger: the message's own record still has it."""
    money.price(70)
    cost = Cost(70, "EUR", Rule.SUBMITTED, 1)
    answer = msgspec.structs.replace(TAKEN, cost=cost)
    await process.end(told(answer))
    assert await process.bill() == [("charge", -70)]
    assert all(finding.ok for finding in check(money.where))


async def test_an_end_that_is_written_twice_is_charged_once(money: Money, process: Process):
    money.account("acme", 1000)
    money.price(70, Rule.DELIVERED)
    process.answers = [TAKEN]
    answer = await process.deliver()
    for _ in range(3):
        await process.end(told(answer), receipt(Level.DELIVERED))
    await process.spending.flush()
    assert money.state("acme").balance == 930


@pytest.mark.parametrize(
    ("receipts", "bill"),
    [
        ([], [("release", 70), ("reserve", -70)]),
        ([Level.DELIVERED], [("charge", -70), ("release", 70), ("reserve", -70)]),
    ],
)
async def test_a_reservation_whose_answer_nobody_heard(
    money: Money, process: Process, receipts, bill
):
    """The step's time was over before the answer: the record knows of no cost."""
    money.price(70, Rule.DELIVERED)
    process.answers = [TAKEN]
    await process.deliver()
    assert await process.bill() == [("reserve", -70)]
    now = NOW.timestamp()
    with closing(open_store(money.where, "hermes")) as database:
        # Not while the message is under way, nor just after its end.
        assert settle_leftovers(database, now - 60, now + 60, now + 7200) == 0
        await process.end(told(UNKNOWN), *map(receipt, receipts), status=Status.FAILED)
        assert settle_leftovers(database, now - 60, now + 60, now + 60) == 0
        assert settle_leftovers(database, now - 60, now + 60, now + 7200) == 1
        assert settle_leftovers(database, now - 60, now + 60, now + 7200) == 0
    assert await process.bill() == bill
