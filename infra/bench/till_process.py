"""One process that delivers and charges, driven line by line: what [ledger] kills.

Each line on standard input is a Call as JSON, each on standard output an Answer. A call's attempt
goes by the real journal, charging and message log; only the provider is played, by what the
message's subject tells it to do.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from adapters.billing.lists import PriceLists
from adapters.billing.spending import Spending
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.database import is_postgres
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.store.sections import Sections
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level, MessageOrder
from domain.sms.segmentation import count_segments
from domain.timeline import Entry, Record
from handlers.delivery.charging import Charging, begun_before

ROUTES = ("tdc", "telia")
LIMIT = 2**20


class Fate(msgspec.Struct, frozen=True):
    """What the provider does with an attempt; it is the subject of the message, as JSON."""

    state: SubmissionState
    route: str


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call: an attempt, or a message's end, or a receipt that came after it."""

    number: int
    request: DeliveryRequest | None = None
    message: str = ""
    order: MessageOrder | None = None
    record: Record | None = None
    late: Entry | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of the call of this number; `failed` says why nothing did, so far."""

    number: int
    submission: Submission | None = None
    failed: str | None = None


_fate = msgspec.json.Decoder(Fate).decode
_call = msgspec.json.Decoder(Call).decode
_encode = msgspec.json.Encoder().encode


class Till:
    """The process."""

    def __init__(self, where: Path | str) -> None:
        self._sections = Sections(where)
        lists = PriceLists(self._sections)
        self._spending = Spending(where, lists.terms)
        self._attempts = SqliteAttemptJournal(where)
        self._log = SqliteMessageLog(where, Places(bytes(32)))
        self._around = Charging(lists, self._spending).around(
            "sms", lambda request: ROUTES, begun_before(self._attempts)
        )

    async def answer(self, call: Call) -> Answer:
        """Do what a call asks for."""
        submission = None
        if call.request is not None:
            submission = await self._around(call.request, self._hand_over)
        elif call.record is not None and call.order is not None:
            await self._log.ended(call.message, call.order, call.record)
        elif call.late is not None:
            await self._log.late_receipt(call.message, call.late)
        return Answer(call.number, submission)

    async def close(self) -> None:
        """Write what is to be written."""
        await self._spending.close()
        await self._attempts.close()
        await self._log.close()
        self._sections.close()

    async def _hand_over(self, request: DeliveryRequest) -> Submission:
        if not await self._attempts.begin(request.message, request.attempt):
            return await self._attempts.outcome(request.message, request.attempt)
        segments = count_segments(request.content.text)[1]
        answer = _played(_fate(request.content.subject or ""), segments)
        await self._attempts.settle(request.message, request.attempt, answer)
        return answer


def _played(fate: Fate, segments: int) -> Submission:
    now = datetime.now(UTC)
    if fate.state is SubmissionState.TAKEN:
        return Submission(
            fate.state, at=now, provider=fate.route, level=Level.SENT, segments=segments
        )
    if fate.state is SubmissionState.BUSY:
        return Submission(fate.state, at=now, provider=fate.route, retry_after=0.0)
    unknown = fate.state is SubmissionState.UNKNOWN
    code = FailureCode.OUTCOME_UNKNOWN if unknown else FailureCode.PROVIDER_ERROR
    return Submission(fate.state, at=now, provider=fate.route, failure=Failure(code))


async def serve(where: Path | str) -> None:
    """Answer calls until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    till = Till(where)
    tasks: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        call = _call(line)
        try:
            said = await till.answer(call)
        except Exception as error:
            said = Answer(call.number, failed=f"{type(error).__name__}: {error}")
        sys.stdout.buffer.write(_encode(said) + b"\n")
        sys.stdout.buffer.flush()

    while line := await reader.readline():
        task = loop.create_task(one(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await till.close()


if __name__ == "__main__":
    address = sys.argv[1]
    uvloop.run(serve(address if is_postgres(address) else Path(address)))
