"""Which receipts a message gets, and when."""

import asyncio
import itertools
import logging
import random
import time
from collections import deque
from typing import Final

from msgspec import Struct

from adapters.smpp.protocol.constants import MessageState
from adapters.smpp.protocol.pdu import DataSm, PduError, SubmitSm
from adapters.smpp.protocol.session import SmscSession
from infra.simulators.limits import Share
from infra.simulators.smsc.behaviours import Behaviour
from infra.simulators.smsc.options import Options
from infra.simulators.smsc.outbox import Delivery, Outbox
from infra.simulators.smsc.receipts import id_in_receipt, style_of, write_receipt
from infra.simulators.smsc.record import Record, Submit
from infra.simulators.smsc.schedule import Schedule

_log = logging.getLogger(__name__)

EARLY_RECEIPT_LEAD: Final = 0.05
"""Seconds between a receipt that overtakes its response and that response."""
_PORTION: Final = 0.05
"""Seconds between two portions of what was kept back and comes at a rate."""


class Taken(Struct, gc=False):
    """A submission that was taken: who sent it, its payload without a UDH, its number and what is
    remembered of it."""

    session: SmscSession
    outbox: Outbox
    pdu: SubmitSm | DataSm
    payload: bytes
    number: int
    submit: Submit


class Reporter:
    """Makes the receipts of what was taken, as `options` say at that moment."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        schedule: Schedule,
        record: Record,
        options: Options,
    ) -> None:
        self.options = options
        self._loop = loop
        self._schedule = schedule
        self._record = record
        self._early, self._twice = Share(), Share()
        self._style_turns = itertools.count()
        self._random = random.Random(options.seed)
        self._held: deque[tuple[Taken, MessageState]] = deque()
        self._letting_go: float | None = None

    @property
    def scheduled(self) -> int:
        """Receipts that are not yet due."""
        return self._schedule.count(self._due)

    @property
    def held(self) -> int:
        """Receipts that are due and kept back."""
        return len(self._held)

    def seed(self, seed: int) -> None:
        """Start the random delays over."""
        self._random.seed(seed)

    def clear(self) -> None:
        """Forget what is not yet due, and what is kept back."""
        self._schedule.drop(self._due)
        self._held.clear()

    def let_go(self) -> None:
        """Send what is kept back, at its rate, unless it is to stay so."""
        if self._held and self._letting_go is None and not self.options.hold_receipts:
            self._letting_go = self._loop.time()
            self._let_go()

    def _let_go(self) -> None:
        options, now = self.options, self._loop.time()
        assert self._letting_go is not None
        due = len(self._held)
        if options.receipt_rate:
            due = min(due, int((now - self._letting_go) * options.receipt_rate))
            self._letting_go += due / options.receipt_rate
        if not options.hold_receipts:
            for _ in range(due):
                self._make(*self._held.popleft(), 0.0)
        if self._held and not options.hold_receipts:
            self._schedule.after(_PORTION, self._let_go)
        else:
            self._letting_go = None

    def overtakes(self, pdu: SubmitSm | DataSm, behaviour: Behaviour) -> bool:
        """Whether the receipt of this message comes before the response; asked once a message."""
        if not (behaviour.answers and _wants_receipt(pdu, behaviour.state)):
            return False
        return behaviour.early or self._early.takes(self.options.early_receipts)

    def report(self, taken: Taken, behaviour: Behaviour, wait: float, *, early: bool) -> None:
        """Plan the receipts of a message that is answered in `wait` seconds, or now for 0.

        Of what is due at once the response comes first if it was scheduled before this.
        """
        options = self.options
        state = behaviour.state
        if state is None or not _wants_receipt(taken.pdu, state):
            return
        delay = options.late_delay if behaviour.late else options.receipt_delay
        response_at = self._loop.time() + wait if wait and behaviour.answers else 0.0
        if options.intermediate:
            enroute = (taken, MessageState.ENROUTE, response_at)
            if early:
                self._make(*enroute)
            else:
                self._schedule.after(wait, self._make, *enroute)
        times = 1
        if self._twice.takes(options.duplicate_receipts):
            self._record.counters.receipts_duplicated += 1
            times = 2
        for _ in range(times):
            if early:
                self._due(taken, state, response_at)
                continue
            jitter = 0.0
            if options.shuffle_receipts:
                jitter = self._random.uniform(0, options.shuffle_receipts)
            self._schedule.after(wait + delay + jitter, self._due, taken, state, response_at)

    def _due(self, taken: Taken, state: MessageState, response_at: float) -> None:
        # What has been kept back goes first.
        if self.options.hold_receipts or self._held:
            self._held.append((taken, state))
            self.let_go()
        else:
            self._make(taken, state, response_at)

    def _make(self, taken: Taken, state: MessageState, response_at: float) -> None:
        options = self.options
        try:
            command_id, body = write_receipt(
                taken.pdu,
                taken.payload,
                id_in_receipt(taken.number, options.id_format),
                state,
                receipt_format=options.receipt_format,
                style=style_of(options.receipt_style, next(self._style_turns)),
                submitted_at=taken.submit.at,
                done_at=time.time(),
            )
        except PduError as error:
            # data_sm takes longer addresses than deliver_sm.
            _log.warning("no receipt for a message to %s: %s", taken.pdu.destination_addr, error)
            return
        taken.outbox.put(
            Delivery(
                command_id,
                body,
                preferred=taken.session,
                elsewhere=options.receipts_to == "any",
                intermediate=state is MessageState.ENROUTE,
                response_at=response_at,
                about=taken.submit,
            )
        )


def _wants_receipt(pdu: SubmitSm | DataSm, state: MessageState | None) -> bool:
    """SMPP 3.4 section 5.2.17: 1 asks for any receipt, 2 for one of failure only."""
    if state is None:
        return False
    wanted = pdu.registered_delivery & 0x03
    return wanted == 1 or (wanted == 2 and state is not MessageState.DELIVERED)
