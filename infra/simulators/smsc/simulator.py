"""The SMSC itself: binds, submissions, receipts, and everything that can go wrong with them."""

import asyncio
import errno
import itertools
import logging
import secrets
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from adapters.smpp.protocol.constants import CommandStatus, status_name
from adapters.smpp.protocol.pdu import Bind, DataSm, SubmitSm
from adapters.smpp.protocol.session import SmscSession
from infra.simulators.limits import TokenBucket
from infra.simulators.smsc.behaviours import BEHAVIOURS, DELIVERED, Behaviour
from infra.simulators.smsc.content import read_payload
from infra.simulators.smsc.control import Control
from infra.simulators.smsc.line import Line
from infra.simulators.smsc.mo import MobileOriginated, mo_deliveries
from infra.simulators.smsc.options import Options
from infra.simulators.smsc.outbox import Outbox
from infra.simulators.smsc.receipts import id_in_response
from infra.simulators.smsc.record import Counters, Link, Record, Submit
from infra.simulators.smsc.reporter import EARLY_RECEIPT_LEAD, Reporter, Taken
from infra.simulators.smsc.schedule import Schedule

_log = logging.getLogger(__name__)

_REOPEN_WITHIN: Final = 2.0
"""Seconds to get the port back after the listener was closed."""

_THROTTLES = (int(CommandStatus.ESME_RTHROTTLED), int(CommandStatus.ESME_RMSGQFUL))


class _Bound(SmscSession):
    """A session with what the simulator keeps about it, once it is bound."""

    link: Link
    outbox: Outbox


def _link_of(session: SmscSession) -> Link | None:
    """What was seen on a session; None before it was bound."""
    return getattr(session, "link", None)


class SmscSimulator:
    """An SMSC. Made on a running loop; `start` opens its ports. `options` are as they are now."""

    def __init__(self, options: Options | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.options = options or Options()
        self.record: Final = Record(self.options.keep)
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule(self._loop)
        self._passwords: Final = {
            self.options.system_id: self.options.password,
            **self.options.accounts,
        }
        self._outboxes: Final = {
            system_id: Outbox(self._loop, self._schedule, self.record)
            for system_id in self._passwords
        }
        self._server: asyncio.Server | None = None
        self._address = ("", 0)
        self._changing = asyncio.Lock()
        self._control = Control(self)
        self._lines: set[Line] = set()
        self._kill_timer: asyncio.TimerHandle | None = None
        # A new prefix each start: a carrier does not reuse ids because it restarted. Its first
        # digit is not 0, so that no notation needs leading zeros.
        self._id_prefix = (secrets.randbelow(0xF000_0000) + 0x1000_0000) << 24
        self._message_numbers = itertools.count(1)
        self._mo_references = itertools.count(1)
        self._inbox: list[tuple[_Bound, int, SubmitSm | DataSm]] = []
        self._throttled: Counter[str] = Counter()
        self._bucket = TokenBucket(self.options.rate, self.options.throttle_burst_s)
        self._within_rate = 0
        self._reporter = Reporter(self._loop, self._schedule, self.record, self.options)

    # -- life -----------------------------------------------------------------------------------

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0
    ) -> tuple[int, int]:
        """Listen for binds and for control requests; the two ports bound.

        Raises:
            OSError: a port is taken.
        """
        # Bound even when it does not listen, to have a port of its own.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            self._address = (host, probe.getsockname()[1])
        if self.options.accept_binds:
            await self._listen()
        for outbox in self._outboxes.values():
            outbox.is_mute = self.options.mute
        self._arm_killing()
        bound_control = await self._control.start(host, control_port)
        _log.info(
            "SMSC simulator: %s:%d, control http://%s:%d", *self._address, host, bound_control
        )
        return self._address[1], bound_control

    async def stop(self) -> None:
        """Cut every link and close the ports."""
        self._schedule.stop()
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        if self._server is not None:
            self._server.close()
        self.kill_links()
        await self._control.stop()

    async def change(self, changes: Mapping[str, Any]) -> Options:
        """Change options, all of them or none; values are as JSON gives them.

        Raises:
            OptionsError: a name is unknown or a value is not right.
            OSError: the port for binds cannot be opened again; nothing was changed.
        """
        async with self._changing:
            before, after = self.options, self.options.changed(changes)
            if after.accept_binds and not before.accept_binds:
                await self._listen()
            self.options = after
            self._reporter.options = after
            self.record.keep = after.keep
            if before.accept_binds and not after.accept_binds:
                self._stop_listening()
            if (before.rate, before.throttle_burst_s) != (after.rate, after.throttle_burst_s):
                self._bucket.set(after.rate, after.throttle_burst_s)
            if "seed" in changes:
                self._reporter.seed(after.seed)
            if before.kill_every != after.kill_every:
                self._arm_killing()
            if before.mute != after.mute:
                self._set_mute(after.mute)
            self._reporter.let_go()
            for line in self._lines:
                line.session.window = after.window
            for outbox in self._outboxes.values():
                outbox.send()
            return after

    def reset(self) -> None:
        """Forget what was seen, and every receipt not yet sent. Links and options stay."""
        self.record.reset()
        self._throttled.clear()
        self._reporter.clear()
        for outbox in self._outboxes.values():
            outbox.clear()

    # -- binds ----------------------------------------------------------------------------------

    def kill_links(self, number: int | None = None) -> int:
        """Cut every connection, or the bind `number`, as a network failure would; how many."""
        killed = 0
        for line in list(self._lines):
            link = _link_of(line.session)
            if number is not None and (link is None or link.number != number):
                continue
            if link is not None and link.why is None:
                link.why = "killed"
            line.cut()
            killed += 1
        self.record.counters.links_killed += killed
        return killed

    async def _listen(self) -> None:
        deadline = self._loop.time() + _REOPEN_WITHIN
        while True:
            try:
                self._server = await self._loop.create_server(
                    self._new_line, *self._address, ssl=self._tls
                )
                return
            except OSError as error:
                # A listener that was just closed may hold the port for a moment.
                if error.errno != errno.EADDRINUSE or self._loop.time() > deadline:
                    raise
            await asyncio.sleep(0.02)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.kill_links()

    def _set_mute(self, mute: bool) -> None:
        for line in list(self._lines):
            line.set_mute(mute)
        for outbox in self._outboxes.values():
            outbox.is_mute = mute

    def _arm_killing(self) -> None:
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None
        if self.options.kill_every:
            self._kill_timer = self._loop.call_later(self.options.kill_every, self._kill_again)

    def _kill_again(self) -> None:
        self.kill_links()
        self._arm_killing()

    def _new_line(self) -> Line:
        session = _Bound(
            on_bind=self._bind,
            on_submit=cast(Callable[[SmscSession, int, SubmitSm | DataSm], None], self._submit),
            window=self.options.window,
            timers=self.options.timers,
        )
        line = Line(session, mute=self.options.mute, on_lost=self._lines.discard)
        self._lines.add(line)
        session.closed.add_done_callback(lambda _: self._session_closed(session))
        return line

    def _session_closed(self, session: _Bound) -> None:
        link = _link_of(session)
        if link is None:
            return
        session.outbox.remove_bind(session)
        link.bound = False
        link.closed_at = time.time()
        if link.why is None and session.close_reason is not None:
            link.why = session.close_reason.value
        link.enquire_links = session.enquire_links

    def _bind(self, session: SmscSession, sequence: int, bind: Bind) -> None:
        if self.options.bind_status is not None:
            status: int | None = self.options.bind_status
        elif bind.system_id not in self._passwords:
            status = CommandStatus.ESME_RINVSYSID
        elif bind.password != self._passwords[bind.system_id]:
            status = CommandStatus.ESME_RINVPASWD
        else:
            status = None
        if status is not None:
            self.record.counters.binds_refused += 1
            session.refuse_bind(sequence, status)
            return
        bound = cast(_Bound, session)
        bound.link = self.record.new_link(
            session.peer, bind.system_id, type(bind).__name__, time.time()
        )
        bound.outbox = self._outboxes[bind.system_id]
        session.accept_bind(sequence, "simulator")
        bound.outbox.add_bind(bound, bound.link)

    # -- submissions ----------------------------------------------------------------------------

    def _submit(self, session: _Bound, sequence: int, pdu: SubmitSm | DataSm) -> None:
        link = session.link
        link.submits += 1
        if session.unanswered > link.peak_in_flight:
            link.peak_in_flight = session.unanswered
        # Answered after the whole read is in, so that the peak above is what the ESME had sent.
        if not self._inbox:
            self._loop.call_soon(self._take_inbox)
        self._inbox.append((session, sequence, pdu))

    def _take_inbox(self) -> None:
        inbox, self._inbox = self._inbox, []
        now = time.time()
        for session, sequence, pdu in inbox:
            self._take(session, sequence, pdu, now)

    def _take(self, session: _Bound, sequence: int, pdu: SubmitSm | DataSm, now: float) -> None:
        record, options, link = self.record, self.options, session.link
        counters, second = record.counters, record.second(now)
        counters.submits += 1
        second.submits += 1
        try:
            payload, part = read_payload(pdu)
        except ValueError:
            counters.refused += 1
            refusal = int(CommandStatus.ESME_RINVESMCLASS)
            self._answer(session, sequence, pdu, refusal, "", options.response_delay)
            return
        behaviour = BEHAVIOURS.get(pdu.destination_addr[-4:], DELIVERED)
        refusal = self._refusal(behaviour, pdu.destination_addr)
        if refusal:
            if refusal in _THROTTLES or refusal == options.throttle_status:
                counters.throttled += 1
                second.throttled += 1
                link.throttled += 1
            else:
                counters.refused += 1
            record.submit(now, link, pdu, payload, part, "", refusal)
            self._answer(session, sequence, pdu, refusal, "", options.response_delay)
            return

        number = self._id_prefix + next(self._message_numbers)
        message_id = id_in_response(number, options.id_format)
        second.accepted += 1
        link.accepted += 1
        if behaviour.answers:
            counters.accepted += 1
        else:
            counters.not_answered += 1
        status = 0 if behaviour.answers else None
        submit = record.submit(now, link, pdu, payload, part, message_id, status)

        early = self._reporter.overtakes(pdu, behaviour)
        wait = options.response_delay + (EARLY_RECEIPT_LEAD if early else 0)
        if behaviour.answers:
            self._answer(session, sequence, pdu, 0, message_id, wait)
        taken = Taken(session, session.outbox, pdu, payload, number, submit)
        self._reporter.report(taken, behaviour, wait, early=early)

    def _refusal(self, behaviour: Behaviour, destination: str) -> int:
        """The status this submission is refused with; 0 when it is taken."""
        options = self.options
        if behaviour.throttled and self._throttled[destination] < options.throttle_count:
            self._throttled[destination] += 1
            return options.throttle_status
        if not self._bucket.takes():
            return options.throttle_status
        if every := options.status_every:
            self._within_rate += 1
            if self._within_rate % every.n == 0:
                return every.status
        return behaviour.status

    def _answer(
        self,
        session: _Bound,
        sequence: int,
        pdu: SubmitSm | DataSm,
        status: int,
        message_id: str,
        wait: float,
    ) -> None:
        answer = (session, sequence, pdu.command_id, status, message_id)
        if wait:
            self._schedule.after(wait, self._respond, *answer)
        else:
            self._respond(*answer)

    def _respond(
        self, session: _Bound, sequence: int, command_id: int, status: int, message_id: str
    ) -> None:
        if session.close_reason is not None:
            self.record.counters.responses_lost += 1
        session.respond(sequence, command_id, status, message_id)

    # -- messages to the ESME -------------------------------------------------------------------

    def send_mo(self, mo: MobileOriginated) -> dict[str, Any]:
        """Deliver a message; it waits for a bind of the account that can receive.

        Raises:
            ValueError: there is no such account, or the message cannot be sent.
        """
        account = self.options.system_id if mo.account is None else mo.account
        outbox = self._outboxes.get(account)
        if outbox is None:
            known = ", ".join(self._outboxes)
            raise ValueError(f"account: expected one of {known}, not {account}")
        reference = mo.reference
        if reference is None:
            reference = next(self._mo_references) & 0xFFFF
        deliveries = mo_deliveries(mo, reference)
        for delivery in deliveries:
            outbox.put(delivery)
        return {"queued": len(deliveries), "reference": reference}

    # -- what was seen --------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """Since the start or the last reset."""
        return self.record.counters

    @property
    def submits(self) -> "list[Submit]":
        """Submissions, the oldest first."""
        return list(self.record.submits)

    def stats(self) -> dict[str, Any]:
        """What GET /stats shows."""
        record = self.record
        bound = 0
        for line in self._lines:
            if link := _link_of(line.session):
                link.enquire_links = line.session.enquire_links
                bound += link.bound
        counters = record.counters
        waiting = [delivery for outbox in self._outboxes.values() for delivery in outbox.waiting]
        return {
            **_fields(counters),
            "enquire_links": sum(link.enquire_links for link in record.links),
            "receipts_waiting": sum(not delivery.is_mo for delivery in waiting),
            "receipts_scheduled": self._reporter.scheduled,
            "receipts_held": self._reporter.held,
            "mo_waiting": sum(delivery.is_mo for delivery in waiting),
            "answers": {
                kind: {
                    status_name(status): times
                    for (of, status), times in record.answers.items()
                    if of == kind
                }
                for kind in ("receipts", "mo")
            },
            "bound": bound,
            "connections": len(self._lines),
            "peak_in_flight": max((link.peak_in_flight for link in record.links), default=0),
            "per_second": [_fields(second) for second in record.seconds],
            "links": [_fields(link) for link in record.links],
        }

    def duplicates(self) -> list[dict[str, Any]]:
        """What GET /duplicates shows."""
        return self.record.duplicates()


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
