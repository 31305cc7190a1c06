"""From a delivery receipt to the attempt that it is about, and on to the message.

A receipt names the SMSC's id, which is known once the response has been journalled. Until then,
and for attempts whose response was lost, the user_message_reference that some carriers echo
helps; what fits nothing is kept, since the response may still come.

Where several processes share the journal, the response may have come to another one, and the
attempt's awakeable may have been used or given up there: memory alone does not know.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from adapters.smpp.carriers.config import IdFormat
from adapters.smpp.carriers.ids import comparable
from adapters.smpp.carriers.outcomes import meaning
from adapters.smpp.protocol.constants import CommandStatus, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm
from adapters.smpp.protocol.receipt import parse_receipt
from adapters.smpp.protocol.session import EsmeSession
from adapters.smpp.store.batched import Batched
from adapters.smpp.store.journal import Journal, Part, PartState, StoredReceipt
from domain.delivery import Receipt
from domain.ports import EngineRefused, EngineUnavailable

Forwarding = tuple[Part, Receipt, Sequence[StoredReceipt]]
"""An attempt's receipt, as it is told and as it is stored."""
_K = TypeVar("_K")
_V = TypeVar("_V")
logger = logging.getLogger(__name__)

_REMEMBERED = 50_000
"""Parts and unmatched receipts kept in memory; the journal has the others."""
_SENDERS = 32
"""Receipts on their way to Restate at once."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_FIRST_RETRY, _LONGEST_RETRY = 0.5, 60.0
"""Seconds between two looks for a held receipt's part in a journal that is shared."""
_LOOKED_FOR_AT_ONCE = 500
_ADOPT_EVERY = 2.0
"""Seconds between two looks for receipts of a process that has ended."""
_REFERENCE_VALID = 86_400.0
"""Seconds for which a 16-bit reference is trusted to mean the same part."""
_REFERENCE = int(Tag.USER_MESSAGE_REFERENCE)


class ReceiptSink(Protocol):
    """Where receipts go. Both raise EngineUnavailable and may be repeated, or EngineRefused."""

    async def resolve(self, ref: str, receipt: Receipt) -> None:
        """To the awakeable that waits."""

    async def report(self, message_id: str, receipt: Receipt) -> None:
        """To the Message object."""


class Correlator:
    """Stores receipts, finds their attempts and forwards them. Made on a running event loop."""

    def __init__(self, journal: Journal, sink: ReceiptSink) -> None:
        self._journal = journal
        self._sink = sink
        self._by_smsc_id: dict[tuple[str, str], Part] = {}
        self._parts_by_id = Batched(journal.parts_by_smsc_ids)
        self._parts_of = Batched(journal.parts_of_all)
        self._in_flight: dict[tuple[str, int], Part] = {}
        self._unmatched: dict[tuple[str, str], list[StoredReceipt]] = {}
        self._expected: dict[tuple[str, int], asyncio.Future[Forwarding]] = {}
        self._outbox: asyncio.Queue[Forwarding] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._senders = [loop.create_task(self._send()) for _ in range(_SENDERS)]
        self._lookups: set[asyncio.Task[None]] = set()
        self._sharing = (
            [loop.create_task(self._retry()), loop.create_task(self._adopt())]
            if journal.shared
            else []
        )
        self._closed = False
        self.on_settled: Callable[[Part, Receipt], None] | None = None
        """Told of each final receipt, with one of the attempt's parts; it must not raise."""

    @property
    def unmatched(self) -> int:
        """Receipts held because no attempt fits them."""
        return sum(map(len, self._unmatched.values()))

    def newest_unmatched(self, most: int) -> list[StoredReceipt]:
        """The newest of them, the newest first."""
        held = itertools.chain.from_iterable(self._unmatched.values())
        return heapq.nlargest(most, held, key=lambda receipt: receipt.received_at)

    async def recover(self) -> None:
        """Take up the receipts that a process which has ended stored and did not forward."""
        while page := await self._journal.adopt():
            for receipt, part in page:
                if part is not None and part.parts == 1:
                    self._forward(self._learn(part), [receipt])
                else:
                    self._spawn_look_up(receipt)

    async def close(self) -> None:
        """Stop forwarding; what is left is taken up by `recover`."""
        self._closed = True
        tasks = [*self._senders, *self._lookups, *self._sharing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the pool tells

    def submitting(self, part: Part) -> None:
        """A part goes to the socket: receipts for it may come from now on."""
        self._in_flight[part.carrier, part.reference] = part

    def answered(self, part: Part) -> None:
        """A part has its response, or will never have one."""
        self._in_flight.pop((part.carrier, part.reference), None)
        early: list[StoredReceipt] = []
        if part.smsc_id is not None:
            key = (part.carrier, part.smsc_id)
            _remember(self._by_smsc_id, key, part)
            early = self._unmatched.pop(key, [])
        elif part.state is PartState.BEGUN:
            # Its id is not known, but the receipt may name its reference.
            for key in [k for k, held in self._unmatched.items() if _names(held[0], part)]:
                early += self._unmatched.pop(key)
        for receipt in early:
            self._spawn_look_up(receipt)

    def expect(self, message: str, attempt: int) -> asyncio.Future[Forwarding]:
        """From now until `conclude`, the receipt that settles the attempt is not forwarded: the
        future has it."""
        future = self._expected[message, attempt] = asyncio.get_running_loop().create_future()
        return future

    def conclude(self, message: str, attempt: int, *, told: bool) -> None:
        """Nobody expects the attempt's receipt any more. `told` if the one that came has found its
        way; otherwise it is forwarded."""
        future = self._expected.pop((message, attempt))
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            part, _, stored = future.result()
            if told:
                part.signalled = True
                self._mark(stored)
            else:
                self._outbox.put_nowait(future.result())

    def expect_nothing(self) -> None:
        """Whoever expects a receipt shall not wait for it."""
        for future in self._expected.values():
            future.cancel()

    async def known(self, parts: Sequence[Part]) -> Receipt | None:
        """The receipt that settles an attempt, as far as the journal has it."""
        found = _whole(parts, await self._journal.receipts_of(parts))
        return _told(parts[0], found) if found else None

    async def release(self, message: str, attempt: int) -> None:
        """The attempt's awakeable is heard no more: report to the message, also what was already
        forwarded, since it may have come too late."""
        await self._journal.release(message, attempt)
        parts = await self._journal.parts_of(message, attempt)
        for part in parts:
            if part.smsc_id is not None:
                self._learn(part)
        for receipt in await self._journal.receipts_of(parts):
            await self._look_up(receipt)

    # What the carriers tell

    def on_receipt(
        self,
        carrier: str,
        session: EsmeSession,
        sequence: int,
        pdu: DeliverSm | DataSm,
        ids: IdFormat = "text",
    ) -> bool:
        """Take a deliver_sm; False when it is no receipt. Acknowledged once it is on disk.

        `ids` is how the carrier writes ids in receipts.
        """
        parsed = parse_receipt(pdu)
        if parsed is None:
            return False
        reference = pdu.tlvs.get(_REFERENCE)
        receipt = StoredReceipt(
            carrier=carrier,
            smsc_id=comparable(parsed.message_id, ids),
            state=parsed.state,
            stat=parsed.stat or parsed.state.name,
            error=parsed.error,
            final=parsed.final,
            destination=pdu.source_addr.lstrip("+"),
            reference=None if reference is None else int.from_bytes(reference, "big"),
            received_at=time.time(),
        )

        def stored(written: asyncio.Future[int]) -> None:
            if written.cancelled() or written.exception() is not None:
                logger.error("receipt %s of %s not stored", receipt.smsc_id, carrier)
                session.acknowledge(sequence, pdu.command_id, CommandStatus.ESME_RX_T_APPN)
                return
            session.acknowledge(sequence, pdu.command_id)
            if written.result() and not self._closed:
                self._stored(receipt)

        self._journal.store(receipt).add_done_callback(stored)
        return True

    def _stored(self, receipt: StoredReceipt) -> None:
        part = self._by_smsc_id.get((receipt.carrier, receipt.smsc_id))
        if part is None and self._is_in_flight(receipt):
            self._hold(receipt)
        elif (
            part is not None
            and part.parts == 1
            and receipt.final
            and not part.signalled
            and not self._journal.shared
        ):
            self._forward(part, [receipt])
        else:
            self._spawn_look_up(receipt)

    # Finding the attempt

    def _spawn_look_up(self, receipt: StoredReceipt) -> None:
        task = asyncio.get_running_loop().create_task(self._look_up_at_last(receipt))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _look_up_at_last(self, receipt: StoredReceipt) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._look_up(receipt)
            except Exception as error:
                logger.warning("receipt %s waits for the journal: %s", receipt.smsc_id, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _look_up(self, receipt: StoredReceipt) -> None:
        key = (receipt.carrier, receipt.smsc_id)
        part = await self._part(key)
        if part is None and receipt.reference is not None and not self._is_in_flight(receipt):
            part = await self._journal.part_by_reference(
                receipt.carrier,
                receipt.reference,
                receipt.destination,
                time.time() - _REFERENCE_VALID,
            )
            if (answered := self._by_smsc_id.get(key)) is not None:
                part = answered
            elif part is not None:
                part.state, part.smsc_id = PartState.ACCEPTED, receipt.smsc_id
                await self._journal.settle(part)
        if part is None:
            self._hold(receipt)
        elif part.parts == 1:
            self._forward(part, [receipt])
        else:
            await self._aggregate(part)

    async def _part(self, key: tuple[str, str]) -> Part | None:
        """The part that has this id, as it is known now: one object for all that ask."""
        part = self._by_smsc_id.get(key)
        if part is None:
            written = await self._parts_by_id.get(key)
            # The response may have come while the journal was read.
            return self._by_smsc_id.get(key) if written is None else self._learn(written)
        if self._journal.shared:
            # Not by its id, which may not have been written yet.
            for written in await self._parts_of.get((part.message, part.attempt)) or ():
                if written.part == part.part:
                    _merge(part, written)
        return part

    def _learn(self, written: Part) -> Part:
        """What the journal has of a part with an id; memory's own object, if it has one."""
        assert written.smsc_id is not None
        key = (written.carrier, written.smsc_id)
        part = self._by_smsc_id.get(key)
        if part is None or (part.message, part.attempt) != (written.message, written.attempt):
            _remember(self._by_smsc_id, key, written)
            return written
        _merge(part, written)
        return part

    async def _aggregate(self, part: Part) -> None:
        """A message of several parts has arrived when all have, and failed when one has."""
        parts = await self._journal.parts_of(part.message, part.attempt)
        found = _whole(parts, await self._journal.receipts_of(parts))
        if found:
            self._forward(part, found)

    def _is_in_flight(self, receipt: StoredReceipt) -> bool:
        if receipt.reference is None:
            return False
        part = self._in_flight.get((receipt.carrier, receipt.reference))
        return part is not None and part.destination == receipt.destination

    def _hold(self, receipt: StoredReceipt) -> None:
        key = (receipt.carrier, receipt.smsc_id)
        held = self._unmatched.get(key)
        if held is not None:
            held.append(receipt)
        else:
            _remember(self._unmatched, key, [receipt])

    async def _retry(self) -> None:
        """Look again for what is held: another process, which shares the journal, may have had the
        response in the meantime. Each receipt is looked for ever less often."""
        loop = asyncio.get_running_loop()
        due: dict[tuple[str, str], tuple[float, float]] = {}
        while True:
            await asyncio.sleep(_FIRST_RETRY)
            now = loop.time()
            due = {key: due.get(key, (now, _FIRST_RETRY)) for key in self._unmatched}
            keys = [key for key, (at, _) in due.items() if at <= now][:_LOOKED_FOR_AT_ONCE]
            if not keys:
                continue
            try:
                parts = await self._journal.parts_by_smsc_ids(keys)
            except Exception as error:
                logger.warning("held receipts were not looked for: %s", error)
                continue
            for key in keys:
                pause = due[key][1]
                due[key] = (now + pause, min(pause * 2, _LONGEST_RETRY))
            for key in parts:
                for receipt in self._unmatched.pop(key, []):
                    self._spawn_look_up(receipt)

    async def _adopt(self) -> None:
        """Take up, again and again, what other processes leave when they end."""
        while True:
            await asyncio.sleep(_ADOPT_EVERY)
            try:
                await self.recover()
            except Exception as error:
                logger.warning("receipts of others were not looked for: %s", error)

    # Forwarding

    def _forward(self, part: Part, stored: Sequence[StoredReceipt]) -> None:
        receipt = _told(part, stored)
        expected = self._expected.get((part.message, part.attempt))
        first = receipt.final and not part.signalled and not part.released
        if receipt.final and self.on_settled is not None:
            self.on_settled(part, receipt)
        if expected is not None and first and not expected.done():
            expected.set_result((part, receipt, stored))
        elif expected is not None and expected.done() and _has(expected, receipt):
            # Parts that arrive together complete the message more than once.
            self._mark(stored)
        else:
            self._outbox.put_nowait((part, receipt, stored))

    async def _send(self) -> None:
        while True:
            part, receipt, stored = await self._outbox.get()
            # An awakeable takes one value, and it is kept for the one that settles the attempt.
            first = receipt.final and not part.signalled and not part.released
            part.signalled = True
            pause = _FIRST_PAUSE
            while True:
                try:
                    if first:
                        await self._sink.resolve(part.receipt_ref, receipt)
                    else:
                        await self._sink.report(part.message, receipt)
                    break
                except EngineRefused as error:
                    # Only a journal from elsewhere could cause this, and no repetition mends it.
                    logger.error("receipt for %s is given up: %s", part.message, error)
                    break
                except EngineUnavailable as error:
                    logger.warning("receipt for %s waits: %s", part.message, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
            self._mark(stored)

    def _mark(self, stored: Sequence[StoredReceipt]) -> None:
        for one in stored:
            self._journal.forwarded(one)


def _has(expected: asyncio.Future[Forwarding], receipt: Receipt) -> bool:
    return not expected.cancelled() and expected.result()[1].id == receipt.id


def _whole(parts: Sequence[Part], receipts: Iterable[StoredReceipt]) -> list[StoredReceipt]:
    """The final receipts that settle an attempt, if they do: all parts' or a failure among them.
    What is said last is what is told, and a failure is."""
    final = {receipt.smsc_id: receipt for receipt in receipts if receipt.final}
    failed = {r for r in final.values() if meaning(r.state, r.error)[1] is not None}
    if not failed and len(final) < len(parts):
        return []
    return sorted(final.values(), key=failed.__contains__)


def _told(part: Part, stored: Sequence[StoredReceipt]) -> Receipt:
    last = stored[-1]
    level, failure = meaning(last.state, last.error)
    return Receipt(
        attempt=part.attempt,
        at=datetime.fromtimestamp(last.received_at, UTC),
        level=level,
        failure=failure,
        provider=part.carrier,
        provider_status=f"{last.stat} err:{last.error}" if last.error else last.stat,
        id=f"{last.carrier}/{last.smsc_id}/{last.state}",
        final=last.final,
    )


def _merge(part: Part, written: Part) -> None:
    """What has come to be true of a part, here or elsewhere, remains so."""
    part.released = part.released or written.released
    part.signalled = part.signalled or written.signalled


def _names(receipt: StoredReceipt, part: Part) -> bool:
    return (receipt.carrier, receipt.reference, receipt.destination) == (
        part.carrier,
        part.reference,
        part.destination,
    )


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    """Add to a bounded memory; the oldest goes first."""
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
