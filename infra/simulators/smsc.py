"""An SMSC to develop and test against: `python -m infra.simulators.smsc`.

The last four digits of the destination choose what happens to a message (BEHAVIOURS); every other
number is delivered. The control port tells what was seen:

    GET  /stats                  counters, and every bind with its peak of submissions in flight
    GET  /submits?destination=…  what was submitted, the newest 1,000 (`limit` up to 10,000)
    GET  /duplicates             texts that the same destination was sent more than once
    POST /reset                  forget all of it, and every receipt not yet sent
    POST /links/kill             cut every connection, as a network failure would
"""

import argparse
import asyncio
import functools
import heapq
import itertools
import logging
import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from msgspec import Struct, field

from adapters.smpp.constants import CommandStatus, EsmClass, MessageState, Tag, status_name
from adapters.smpp.pdu import Bind, DataSm, DeliverSm, SubmitSm
from adapters.smpp.session import DEFAULT_TIMERS, OutcomeUnknownError, SmscSession, Timers
from domain.sms import gsm0338
from infra.simulators.process import ControlServer, run

_log = logging.getLogger(__name__)

MAX_SUBMITS: Final = 200_000
"""Submissions remembered; the oldest are forgotten first."""
MAX_LINKS: Final = 1_000
"""Binds remembered."""
DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 10_000

EARLY_RECEIPT_LEAD: Final = 0.05
"""Seconds between a receipt that overtakes its response and that response."""
REFUSED_RECEIPT_DELAY: Final = 1.0
"""Seconds until a receipt that the ESME refused for now is sent again."""
_TICK: Final = 0.02
"""Seconds. What falls due within one tick is done together, which keeps the CPU for the tested."""

_TEXT_IN_RECEIPT = 20
_REFUSED_FOR_GOOD = {CommandStatus.ESME_RX_P_APPN, CommandStatus.ESME_RX_R_APPN}

# SMPP 3.4, appendix B; and the `err` a carrier would put beside each.
_STAT: Final = {
    MessageState.DELIVERED: (b"DELIVRD", b"000"),
    MessageState.EXPIRED: (b"EXPIRED", b"034"),
    MessageState.UNDELIVERABLE: (b"UNDELIV", b"001"),
}
_RECEIPT_TEXT: Final = b"id:%b sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:%b"


class Behaviour(Struct, frozen=True):
    """What happens to a message.

    `status` answers submit_sm. `state` is what the receipt says, None for no receipt. A `late`
    receipt takes `--late-delay`, an `early` one comes before the response. With `answers` False
    there is no response at all. A `throttled` number first refuses `--throttle-count` submissions.
    """

    description: str
    status: int = CommandStatus.ESME_ROK
    state: MessageState | None = MessageState.DELIVERED
    late: bool = False
    early: bool = False
    answers: bool = True
    throttled: bool = False


DELIVERED: Final = Behaviour("accepted, then DELIVRD after --receipt-delay")
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "9901": Behaviour("accepted, then DELIVRD after --late-delay", late=True),
    "9902": Behaviour("accepted, no receipt ever", state=None),
    "9903": Behaviour("accepted, then UNDELIV", state=MessageState.UNDELIVERABLE),
    "9904": Behaviour("the DELIVRD receipt comes before the response", early=True),
    "9905": Behaviour("refused: ESME_RINVDSTADR", status=CommandStatus.ESME_RINVDSTADR, state=None),
    "9906": Behaviour(
        "ESME_RTHROTTLED for the first --throttle-count submissions, then DELIVRD", throttled=True
    ),
    "9907": Behaviour("accepted, then EXPIRED", state=MessageState.EXPIRED),
    "9908": Behaviour("no response and no receipt: outcome unknown", state=None, answers=False),
    "9909": Behaviour("no response, yet a DELIVRD receipt", answers=False),
}
"""By the last four digits of the destination; any other number is DELIVERED."""


class Link(Struct):
    """One bind and what was seen on it."""

    number: int
    peer: str
    bind_type: str
    bound: bool = True
    submits: int = 0
    peak_in_flight: int = 0
    receipts_sent: int = 0


class Part(Struct, frozen=True, gc=False):
    """Where a message stands in a concatenated one; the SMSC sees only parts."""

    reference: int
    total: int
    number: int


class Submit(Struct, gc=False):
    """One submission, as received. `status` is None when it was deliberately not answered."""

    at: float
    link: int
    source: str
    destination: str
    data_coding: int
    payload: bytes
    part: Part | None
    user_message_reference: int | None
    message_id: str
    status: int | None
    identity: int

    def as_json(self) -> dict[str, Any]:
        """For the control port."""
        return {
            "at": self.at,
            "bind": self.link,
            "source": self.source,
            "destination": self.destination,
            "text": read_text(self.payload, self.data_coding),
            "data_coding": self.data_coding,
            "part": None
            if self.part is None
            else {
                "reference": self.part.reference,
                "total": self.part.total,
                "number": self.part.number,
            },
            "user_message_reference": self.user_message_reference,
            "message_id": self.message_id,
            "status": None if self.status is None else status_name(self.status),
        }


class Receipt(Struct, gc=False):
    """A receipt on its way: the encoded deliver_sm, and the session it should rather use."""

    body: bytes
    preferred: SmscSession


class Counters(Struct):
    """What `/stats` counts, since the start or the last reset."""

    submits: int = 0
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    not_answered: int = 0
    duplicates: int = 0
    receipts_sent: int = 0
    receipts_acked: int = 0
    receipts_refused: int = 0
    binds: int = 0
    binds_refused: int = 0
    links_killed: int = 0


class Options(Struct, frozen=True, kw_only=True):
    """How a simulator behaves; delays are seconds.

    `rate` is how many submissions a second are taken, over all binds, before the rest get
    ESME_RTHROTTLED; 0 takes any number. `window` bounds the receipts in flight on one bind.
    """

    system_id: str = "hermes"
    password: str = "hermes"  # noqa: S105
    receipt_delay: float = 0.2
    late_delay: float = 10.0
    response_delay: float = 0.0
    throttle_count: int = 3
    rate: float = 0.0
    window: int = 200
    timers: Timers = field(default=DEFAULT_TIMERS)


class Schedule:
    """Things to do later, on one timer however many there are."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self._ran_at = -math.inf
        self._running = False

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` in `delay` seconds, at most a tick late."""
        due = self._loop.time() + delay
        heapq.heappush(self._heap, (due, next(self._order), action, arguments))
        # While it runs, `_run` arms the timer itself, once.
        if due < self._armed_for and not self._running:
            self._arm(due)

    def drop(self, action: Callable[..., None]) -> None:
        """Forget every pending call of `action`."""
        self._heap = [entry for entry in self._heap if entry[2] != action]
        heapq.heapify(self._heap)

    def count(self, action: Callable[..., None]) -> int:
        """Pending calls of `action`."""
        return sum(1 for entry in self._heap if entry[2] == action)

    def stop(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = max(due, self._ran_at + _TICK)
        self._timer = self._loop.call_at(self._armed_for, self._run)

    def _run(self) -> None:
        self._running = True
        self._ran_at = now = self._loop.time()
        try:
            while self._heap and self._heap[0][0] <= now:
                _, _, action, arguments = heapq.heappop(self._heap)
                action(*arguments)
        finally:
            self._running = False
            self._armed_for = math.inf
            if self._heap:
                self._arm(self._heap[0][0])


class SmscSimulator:
    """An SMSC with one account. Made on a running loop; `start` opens its ports."""

    def __init__(self, options: Options | None = None) -> None:
        self.options: Final = options or Options()
        self.counters = Counters()
        self.submits: deque[Submit] = deque()
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule(self._loop)
        self._server: asyncio.Server | None = None
        self._control = ControlServer(
            [
                web.get("/stats", self._get_stats),
                web.get("/submits", self._get_submits),
                web.get("/duplicates", self._get_duplicates),
                web.post("/reset", self._post_reset),
                web.post("/links/kill", self._post_kill),
            ]
        )
        self._sessions: set[SmscSession] = set()
        self._links: dict[SmscSession, Link] = {}
        self._history: deque[Link] = deque(maxlen=MAX_LINKS)
        self._link_numbers = itertools.count(1)
        # A new prefix each start: a carrier does not reuse ids because it restarted.
        self._id_prefix = secrets.token_hex(4).upper()
        self._message_numbers = itertools.count(1)
        self._inbox: list[tuple[SmscSession, int, SubmitSm | DataSm]] = []
        self._waiting: deque[Receipt] = deque()
        self._seen: Counter[int] = Counter()
        self._throttled: Counter[str] = Counter()
        self._tokens = self.options.rate
        self._tokens_at = self._loop.time()

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0
    ) -> tuple[int, int]:
        """Listen for binds and for control requests; the two ports bound.

        Raises:
            OSError: a port is taken.
        """
        self._server = await self._loop.create_server(self._new_session, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        bound_control = await self._control.start(host, control_port)
        _log.info("SMSC simulator: %s:%d, control http://%s:%d", host, bound, host, bound_control)
        return bound, bound_control

    async def stop(self) -> None:
        """Cut every link and close the ports."""
        self._schedule.stop()
        if self._server is not None:
            self._server.close()
        self.kill_links()
        await self._control.stop()

    def kill_links(self) -> int:
        """Cut every connection, as a network failure would; how many there were."""
        sessions = list(self._sessions)
        for session in sessions:
            session.abort()
        self.counters.links_killed += len(sessions)
        return len(sessions)

    def reset(self) -> None:
        """Forget what was seen, and every receipt not yet sent. Links stay."""
        self.counters = Counters()
        self.submits.clear()
        self._seen.clear()
        self._throttled.clear()
        self._waiting.clear()
        self._schedule.drop(self._make_receipt)
        self._schedule.drop(self._queue_receipt)
        self._history = deque(self._links.values(), maxlen=MAX_LINKS)
        for link in self._history:
            link.submits = link.peak_in_flight = link.receipts_sent = 0

    # -- binds ----------------------------------------------------------------------------------

    def _new_session(self) -> SmscSession:
        session = SmscSession(
            on_bind=self._bind,
            on_submit=self._submit,
            window=self.options.window,
            timers=self.options.timers,
        )
        self._sessions.add(session)
        session.closed.add_done_callback(lambda _: self._session_closed(session))
        return session

    def _session_closed(self, session: SmscSession) -> None:
        self._sessions.discard(session)
        if link := self._links.pop(session, None):
            link.bound = False

    def _bind(self, session: SmscSession, sequence: int, bind: Bind) -> None:
        if bind.system_id != self.options.system_id:
            self.counters.binds_refused += 1
            session.refuse_bind(sequence, CommandStatus.ESME_RINVSYSID)
        elif bind.password != self.options.password:
            self.counters.binds_refused += 1
            session.refuse_bind(sequence, CommandStatus.ESME_RINVPASWD)
        else:
            self.counters.binds += 1
            link = Link(next(self._link_numbers), session.peer, type(bind).__name__)
            self._links[session] = link
            self._history.append(link)
            session.accept_bind(sequence, "simulator")
            self._send_receipts()

    # -- submissions ----------------------------------------------------------------------------

    def _submit(self, session: SmscSession, sequence: int, pdu: SubmitSm | DataSm) -> None:
        link = self._links[session]
        link.submits += 1
        link.peak_in_flight = max(link.peak_in_flight, session.unanswered)
        # Answered after the whole read is in, so that the peak above is what the ESME had sent.
        if not self._inbox:
            self._loop.call_soon(self._take_inbox)
        self._inbox.append((session, sequence, pdu))

    def _take_inbox(self) -> None:
        inbox, self._inbox = self._inbox, []
        delay = self.options.response_delay
        for entry in inbox:
            if delay:
                self._schedule.after(delay, self._take, *entry)
            else:
                self._take(*entry)

    def _take(self, session: SmscSession, sequence: int, pdu: SubmitSm | DataSm) -> None:
        counters = self.counters
        counters.submits += 1
        behaviour = BEHAVIOURS.get(pdu.destination_addr[-4:], DELIVERED)
        try:
            payload, part = read_payload(pdu)
        except ValueError:
            counters.refused += 1
            session.respond(sequence, pdu.command_id, CommandStatus.ESME_RINVESMCLASS)
            return

        status: int | None = behaviour.status
        message_id = ""
        if self._is_throttled(behaviour, pdu.destination_addr):
            status = CommandStatus.ESME_RTHROTTLED
            counters.throttled += 1
        elif status:
            counters.refused += 1
        else:
            message_id = f"{self._id_prefix}{next(self._message_numbers):06X}"
            if behaviour.answers:
                counters.accepted += 1
            else:
                status = None
                counters.not_answered += 1
        self._record(session, pdu, payload, part, message_id, status)

        receipt = None
        if message_id and behaviour.state is not None and _wants_receipt(pdu, behaviour.state):
            receipt = (session, pdu, payload, message_id, behaviour.state, time.time())
        if receipt and behaviour.early:
            self._make_receipt(*receipt)
            self._schedule.after(
                EARLY_RECEIPT_LEAD, session.respond, sequence, pdu.command_id, 0, message_id
            )
            return
        if status is not None:
            session.respond(sequence, pdu.command_id, status, message_id)
        if receipt:
            delay = self.options.late_delay if behaviour.late else self.options.receipt_delay
            self._schedule.after(delay, self._make_receipt, *receipt)

    def _is_throttled(self, behaviour: Behaviour, destination: str) -> bool:
        if behaviour.throttled and self._throttled[destination] < self.options.throttle_count:
            self._throttled[destination] += 1
            return True
        rate = self.options.rate
        if not rate:
            return False
        now = self._loop.time()
        # A tenth of a second's worth may come at once.
        burst = max(1.0, rate / 10)
        self._tokens = min(burst, self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False

    def _record(
        self,
        session: SmscSession,
        pdu: SubmitSm | DataSm,
        payload: bytes,
        part: Part | None,
        message_id: str,
        status: int | None,
    ) -> None:
        link = self._links.get(session)
        reference = pdu.tlvs.get(Tag.USER_MESSAGE_REFERENCE)
        number = (part.number, part.total) if part else None
        identity = hash((pdu.destination_addr, payload, number))
        if len(self.submits) >= MAX_SUBMITS:
            self._forget(self.submits.popleft())
        self.submits.append(
            Submit(
                time.time(),
                link.number if link else 0,
                pdu.source_addr,
                pdu.destination_addr,
                pdu.data_coding,
                payload,
                part,
                int.from_bytes(reference, "big") if reference else None,
                message_id,
                status,
                identity,
            )
        )
        # A submission that was refused does not make the next try a duplicate.
        if message_id:
            self._seen[identity] += 1
            if self._seen[identity] > 1:
                self.counters.duplicates += 1

    def _forget(self, submit: Submit) -> None:
        if submit.message_id:
            self._seen[submit.identity] -= 1
            if not self._seen[submit.identity]:
                del self._seen[submit.identity]

    # -- receipts -------------------------------------------------------------------------------

    def _make_receipt(
        self,
        session: SmscSession,
        pdu: SubmitSm | DataSm,
        payload: bytes,
        message_id: str,
        state: MessageState,
        submitted_at: float,
    ) -> None:
        tlvs = {
            int(Tag.RECEIPTED_MESSAGE_ID): message_id.encode() + b"\0",
            int(Tag.MESSAGE_STATE): bytes((state,)),
        }
        if reference := pdu.tlvs.get(Tag.USER_MESSAGE_REFERENCE):
            tlvs[int(Tag.USER_MESSAGE_REFERENCE)] = reference
        stat, error = _STAT[state]
        text = payload[:_TEXT_IN_RECEIPT] if pdu.data_coding == 0 else b""
        receipt = DeliverSm(
            source_addr_ton=pdu.dest_addr_ton,
            source_addr_npi=pdu.dest_addr_npi,
            source_addr=pdu.destination_addr,
            dest_addr_ton=pdu.source_addr_ton,
            dest_addr_npi=pdu.source_addr_npi,
            destination_addr=pdu.source_addr,
            esm_class=EsmClass.DELIVERY_RECEIPT,
            short_message=_RECEIPT_TEXT
            % (
                message_id.encode(),
                b"001" if state is MessageState.DELIVERED else b"000",
                _date(int(submitted_at) // 60),
                _date(int(time.time()) // 60),
                stat,
                error,
                text,
            ),
            tlvs=tlvs,
        )
        self._queue_receipt(Receipt(receipt.encode_body(), session))

    def _queue_receipt(self, receipt: Receipt) -> None:
        self._waiting.append(receipt)
        self._send_receipts()

    def _send_receipts(self) -> None:
        """Send what waits while any bound session has room; each answer makes room for more."""
        while self._waiting:
            session = self._session_for(self._waiting[0])
            if session is None:
                return
            receipt = self._waiting.popleft()
            answer = session.deliver(receipt.body)
            self.counters.receipts_sent += 1
            self._links[session].receipts_sent += 1
            answer.add_done_callback(functools.partial(self._receipt_answered, receipt))

    def _session_for(self, receipt: Receipt) -> SmscSession | None:
        preferred = receipt.preferred
        if preferred.free > 0 and preferred.can_deliver:
            return preferred
        return next((s for s in self._links if s.free > 0 and s.can_deliver), None)

    def _receipt_answered(self, receipt: Receipt, answer: "asyncio.Future[int]") -> None:
        try:
            status = answer.result()
        except OutcomeUnknownError:
            self._waiting.appendleft(receipt)
        else:
            if status == CommandStatus.ESME_ROK:
                self.counters.receipts_acked += 1
            else:
                self.counters.receipts_refused += 1
                if status not in _REFUSED_FOR_GOOD:
                    self._schedule.after(REFUSED_RECEIPT_DELAY, self._queue_receipt, receipt)
        self._send_receipts()

    # -- control --------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """What GET /stats shows."""
        counters = self.counters
        return {
            **{name: getattr(counters, name) for name in counters.__struct_fields__},
            "receipts_waiting": len(self._waiting),
            "receipts_scheduled": self._schedule.count(self._make_receipt),
            "bound": len(self._links),
            "peak_in_flight": max((link.peak_in_flight for link in self._history), default=0),
            "links": [
                {name: getattr(link, name) for name in link.__struct_fields__}
                for link in self._history
            ],
        }

    def duplicates(self) -> list[dict[str, Any]]:
        """Each text that one destination was sent more than once, and how often."""
        if not self.counters.duplicates:
            return []
        found: dict[int, dict[str, Any]] = {}
        for submit in self.submits:
            times = self._seen[submit.identity] if submit.message_id else 0
            if times > 1 and submit.identity not in found:
                found[submit.identity] = {"times": times, **submit.as_json()}
        return list(found.values())

    async def _get_stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def _get_submits(self, request: web.Request) -> web.Response:
        destination = request.query.get("destination")
        try:
            limit = min(int(request.query.get("limit", DEFAULT_LIMIT)), MAX_LIMIT)
        except ValueError:
            raise web.HTTPBadRequest(text="limit is a number") from None
        newest = (
            submit
            for submit in reversed(self.submits)
            if destination is None or submit.destination == destination
        )
        submits = [submit.as_json() for submit in itertools.islice(newest, limit)]
        submits.reverse()
        return web.json_response({"submits": submits})

    async def _get_duplicates(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"count": self.counters.duplicates, "duplicates": self.duplicates()[:MAX_LIMIT]}
        )

    async def _post_reset(self, _: web.Request) -> web.Response:
        self.reset()
        return web.json_response({})

    async def _post_kill(self, _: web.Request) -> web.Response:
        return web.json_response({"killed": self.kill_links()})


def _wants_receipt(pdu: SubmitSm | DataSm, state: MessageState) -> bool:
    """SMPP 3.4 section 5.2.17: 1 asks for any receipt, 2 for one of failure only."""
    wanted = pdu.registered_delivery & 0x03
    return wanted == 1 or (wanted == 2 and state is not MessageState.DELIVERED)


@functools.lru_cache(maxsize=16)
def _date(minute: int) -> bytes:
    return time.strftime("%y%m%d%H%M", time.gmtime(minute * 60)).encode()


def read_payload(pdu: SubmitSm | DataSm) -> tuple[bytes, Part | None]:
    """The message without its UDH, and its place in a concatenated message if it is a part.

    Concatenation is read from the UDH (3GPP TS 23.040 section 9.2.3.24.1 and .8) and from the SAR
    parameters (SMPP 3.4 sections 5.3.2.22 to 24).

    Raises:
        ValueError: esm_class announces a UDH and there is none.
    """
    payload = pdu.message
    if not pdu.esm_class & EsmClass.UDHI:
        tlvs = pdu.tlvs
        if total := tlvs.get(Tag.SAR_TOTAL_SEGMENTS):
            reference = int.from_bytes(tlvs.get(Tag.SAR_MSG_REF_NUM, b""), "big")
            number = int.from_bytes(tlvs.get(Tag.SAR_SEGMENT_SEQNUM, b""), "big")
            return payload, Part(reference, total[0], number)
        return payload, None
    length = payload[0] + 1 if payload else 0
    if not 1 <= length <= len(payload):
        raise ValueError("the user data header is cut short")
    part = None
    position = 1
    while position + 2 <= length:
        identifier, size = payload[position], payload[position + 1]
        element = payload[position + 2 : min(position + 2 + size, length)]
        if identifier in (0x00, 0x08) and len(element) == (4 if identifier else 3):
            part = Part(int.from_bytes(element[:-2], "big"), element[-2], element[-1])
        position += 2 + size
    return payload[length:], part


def read_text(payload: bytes, data_coding: int) -> str:
    """The text of a payload, for people: GSM-7, Latin-1 or UCS-2, and hexadecimal for the rest."""
    if data_coding == 8:
        return payload.decode("utf-16-be", errors="replace")
    if data_coding == 0 and payload.isascii():
        return gsm0338.decode(payload)
    if data_coding in (0, 1, 3):
        return payload.decode("latin-1")
    return payload.hex()


def _parse_arguments() -> argparse.Namespace:
    table = "\n".join(f"  …{digits}  {b.description}" for digits, b in BEHAVIOURS.items())
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m infra.simulators.smsc",
        description="An SMSC to develop and test against.",
        epilog=f"the last four digits of the destination choose what happens:\n{table}\n"
        f"  other  {DELIVERED.description}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=2775)
    add("--control-port", type=int, default=2776)
    add("--system-id", default=defaults.system_id)
    add("--password", default=defaults.password)
    add("--receipt-delay", type=float, default=defaults.receipt_delay, metavar="SECONDS")
    add("--late-delay", type=float, default=defaults.late_delay, metavar="SECONDS")
    add("--response-delay", type=float, default=defaults.response_delay, metavar="SECONDS")
    add("--throttle-count", type=int, default=defaults.throttle_count, metavar="N")
    add("--rate", type=float, default=defaults.rate, metavar="N", help="0: any number a second")
    add("--window", type=int, default=defaults.window, help="receipts in flight on one bind")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    arguments = _parse_arguments()
    options = Options(
        system_id=arguments.system_id,
        password=arguments.password,
        receipt_delay=arguments.receipt_delay,
        late_delay=arguments.late_delay,
        response_delay=arguments.response_delay,
        throttle_count=arguments.throttle_count,
        rate=arguments.rate,
        window=arguments.window,
    )

    async def start() -> SmscSimulator:
        simulator = SmscSimulator(options)
        await simulator.start(arguments.host, arguments.port, arguments.control_port)
        return simulator

    run(start)


if __name__ == "__main__":
    main()
