"""What all providers do alike: a request is recorded, judged, answered, and callbacks follow."""

import abc
import asyncio
import json
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from msgspec import Struct, field

from infra.simulators.limits import Share, TokenBucket
from infra.simulators.providers.accounts import Accounts
from infra.simulators.providers.behaviours import Behaviour, Fault, Signature
from infra.simulators.providers.courier import Courier
from infra.simulators.providers.options import Options
from infra.simulators.providers.record import MAX_BODY, Record, Request

MAX_REQUEST: Final = 32 * 1024 * 1024
"""Octets of a request; SendGrid's own limit is 30 MB."""
EARLY_TIMEOUT: Final = 5.0
"""Seconds that an answer waits for the callbacks that come before it."""
_SHUTDOWN_TIMEOUT: Final = 0.1
_RATE_BURST_S: Final = 0.1
_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)
_PAGE: Final = b"<!doctype html><html><body><h1>It works!</h1></body></html>"


class Answer(Struct):
    """What a request gets."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(body).encode(), headers=headers or {})


class Submission(Struct, kw_only=True):
    """A message that may be accepted: right in form, and from somebody who may send.

    `recipients` each get their own callbacks; the first one's behaviour decides the answer.
    `details` is what the provider itself wants to know again. `dry_run` asks for the answer only.
    """

    account: Any
    recipients: list[str]
    sender: str
    text: str
    reference: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    refusal: str | None = None
    dry_run: bool = False


Judge = Callable[[web.Request, bytes], Answer | Submission]
"""Looks at a request and its body: an answer at once, or a message that may be accepted."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Event(Struct):
    """Something that happened to an accepted message, and will be called back."""

    name: str
    code: str
    at: float
    id: str = field(default_factory=lambda: secrets.token_hex(11))


class Provider(abc.ABC):
    """One provider's API on its own port, and the callbacks it sends. Made on a running loop."""

    name: str
    internal: str
    """The refusal that fail_rate gives."""
    throttled: str
    """The refusal that rate gives."""
    delivered: tuple[str, ...] = ()
    """The events of a message that is delivered."""

    def __init__(self, options: Options, accounts: Accounts, courier: Courier) -> None:
        self.record: Final = Record(options.keep)
        self.options = options
        self._accounts = accounts
        self._courier = courier
        self._loop = asyncio.get_running_loop()
        self._bucket = TokenBucket(options.rate, _RATE_BURST_S)
        self._shares = {
            name: Share() for name in ("fail_rate", "duplicate", "reorder", "early", "signature")
        }
        self._refused: Counter[str] = Counter()
        self._timers: set[asyncio.TimerHandle] = set()
        application = web.Application(client_max_size=MAX_REQUEST)
        application.add_routes(self.routes())
        application.router.add_route("*", "/{anything:.*}", self._unknown)
        # A client that leaves frees what it waited for.
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )

    # -- what a provider says itself --------------------------------------------------------

    @abc.abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Its API."""

    @abc.abstractmethod
    def behaviour_of(self, recipient: str) -> Behaviour:
        """What happens to a recipient."""

    @abc.abstractmethod
    def refuse(self, refusal: str, submission: Submission | None = None) -> Answer:
        """The answer that a refusal's name stands for."""

    @abc.abstractmethod
    def new_id(self) -> str:
        """An id for a message."""

    @abc.abstractmethod
    def accept(self, submission: Submission, id_: str) -> Answer:
        """The answer to a message that is accepted."""

    @abc.abstractmethod
    def not_found(self, request: web.Request) -> Answer:
        """The answer to a path that does not exist."""

    def emit(
        self,
        submission: Submission,
        recipient: str,
        id_: str,
        event: Event,
        signature: Signature,
    ) -> Awaitable[None] | None:
        """Send one event's callback; what comes back is done after the first attempt."""
        return None

    def inbound(self, fields: Mapping[str, Any]) -> str:
        """Send what a person wrote to the account; its id.

        Raises:
            ValueError: a field is missing or wrong, or this provider has no such thing.
        """
        raise ValueError(f"{self.name} has no incoming messages here")

    async def verify(self, account: str | None) -> dict[str, Any]:
        """Ask an account's webhook to prove that it is ours.

        Raises:
            ValueError: there is no such account or webhook, or no such thing at this provider.
            OSError: the webhook did not answer.
        """
        raise ValueError(f"{self.name} does not verify webhooks")

    # -- its life ---------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> int:
        """Listen; the port bound, which matters for port 0.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()
        self.forget()

    def set(self, options: Options) -> None:
        """Behave so from now on."""
        if options.rate != self.options.rate:
            self._bucket.set(options.rate, _RATE_BURST_S)
        if options.keep != self.options.keep:
            self.record.keep(options.keep)
        self.options = options

    def forget(self) -> None:
        """Forget callbacks not begun yet, and who was refused how often."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._refused.clear()

    @property
    def pending(self) -> int:
        """Events whose callbacks have not begun."""
        return len(self._timers)

    # -- a request --------------------------------------------------------------------------

    def handled_by(self, judge: Judge) -> Handler:
        """A route's handler, for `routes`: what `judge` says of a request is answered."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.answer(request, judge)

        return handle

    async def answer(self, request: web.Request, judge: Judge) -> web.StreamResponse:
        """Record a request and answer it: as judged, or as the recipient's behaviour says."""
        counters = self.record.counters
        body = await request.read()
        seen = Request(
            time.time(),
            request.method,
            request.path_qs,
            request.headers.get("Authorization", "").partition(" ")[0],
            request.headers.get("Content-Type", ""),
            body[:MAX_BODY].decode("utf-8", "replace"),
        )
        self.record.requests.append(seen)
        counters.requests += 1
        self.record.in_flight += 1
        counters.peak_in_flight = max(counters.peak_in_flight, self.record.in_flight)
        try:
            judged = judge(request, body)
            if isinstance(judged, Answer):
                if judged.status in (401, 403):
                    counters.unauthorized += 1
                elif judged.status >= 400:
                    counters.invalid += 1
                await self._latency()
                return await self._write(request, seen, judged)
            return await self._submit(request, seen, judged)
        except asyncio.CancelledError:
            if seen.ended == "open":
                seen.ended = "gone"
                counters.not_answered += 1
            raise
        finally:
            self.record.in_flight -= 1

    async def _submit(
        self, request: web.Request, seen: Request, submission: Submission
    ) -> web.StreamResponse:
        counters = self.record.counters
        counters.messages += 1
        behaviour = self.behaviour_of(submission.recipients[0])
        refusal = submission.refusal or self._refusal(submission.recipients[0], behaviour)
        if refusal is not None:
            answer = self.refuse(refusal, submission)
            if answer.status == 429:
                counters.throttled += 1
            elif answer.status >= 500:
                counters.failed += 1
            else:
                counters.refused += 1
            await self._latency()
            return await self._write(request, seen, answer)
        if behaviour.fault is not None and not behaviour.taken:
            counters.lost += 1
            await self._latency()
            return await self._fail(request, seen, behaviour.fault)
        id_ = self.new_id()
        if submission.dry_run:
            counters.dry_runs += 1
            await self._latency()
            return await self._write(request, seen, self.accept(submission, id_))
        return await self._take(request, seen, submission, behaviour, id_)

    async def _take(
        self,
        request: web.Request,
        seen: Request,
        submission: Submission,
        behaviour: Behaviour,
        id_: str,
    ) -> web.StreamResponse:
        for recipient in submission.recipients:
            self.record.accepted(
                id_,
                to=recipient,
                sender=submission.sender,
                text=submission.text,
                reference=submission.reference,
                behaviour=self.behaviour_of(recipient).description,
            )
        self.record.counters.accepted += 1
        seen.message_ids.append(id_)
        answer = self.accept(submission, id_)
        if behaviour.early or self._shares["early"].takes(self.options.early):
            await self._call_back_now(submission, id_)
            await self._latency()
            return await self._write(request, seen, answer)
        try:
            await self._latency()
            if behaviour.fault is None:
                return await self._write(request, seen, answer)
        finally:
            # The message is taken even if its sender did not wait for the answer.
            self._call_back_later(submission, id_)
        return await self._fail(request, seen, behaviour.fault)

    def _refusal(self, recipient: str, behaviour: Behaviour) -> str | None:
        if not self._bucket.takes():
            return self.throttled
        if self._shares["fail_rate"].takes(self.options.fail_rate):
            return self.internal
        if behaviour.refusal is None or behaviour.times is None:
            return behaviour.refusal
        times = self.options.throttle_count if behaviour.times == "throttle" else behaviour.times
        self._refused[recipient] += 1
        return behaviour.refusal if self._refused[recipient] <= times else None

    async def _latency(self) -> None:
        if self.options.latency_ms:
            await asyncio.sleep(self.options.latency_ms / 1e3)

    async def _write(
        self, request: web.Request, seen: Request, answer: Answer
    ) -> web.StreamResponse:
        response = web.Response(
            status=answer.status,
            body=answer.body,
            headers={**answer.headers, "Content-Type": answer.content_type},
        )
        # Written here, so that a callback that comes after the answer does.
        await response.prepare(request)
        await response.write_eof()
        seen.status, seen.ended = answer.status, "answered"
        return response

    async def _fail(self, request: web.Request, seen: Request, fault: Fault) -> web.StreamResponse:
        if fault == "garbage":
            response = await self._write(request, seen, Answer(200, _PAGE, "text/html"))
            seen.ended = "garbage"
            return response
        seen.ended = fault
        self.record.counters.not_answered += 1
        if fault == "timeout":
            await asyncio.sleep(self.options.timeout_s)
        cut(request)
        raise asyncio.CancelledError

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, lambda asked, _: self.not_found(asked))

    # -- callbacks --------------------------------------------------------------------------

    def _plan(self, recipient: str) -> tuple[list[Event], Behaviour, Signature]:
        """A recipient's events in the order in which they are called back."""
        behaviour = self.behaviour_of(recipient)
        names = self.delivered if behaviour.events is None else behaviour.events
        now = time.time()
        events = []
        for number, name in enumerate(names if self.options.callbacks else ()):
            event, _, code = name.partition(":")
            events.append(Event(event, code, now + number))
        if behaviour.reordered or self._shares["reorder"].takes(self.options.reorder):
            events.reverse()
        if behaviour.duplicated or self._shares["duplicate"].takes(self.options.duplicate):
            events = [event for event in events for _ in range(2)]
        signature = behaviour.signature
        if self._shares["signature"].takes(self.options.bad_signature):
            signature = "bad"
        return events, behaviour, signature

    async def _call_back_now(self, submission: Submission, id_: str) -> None:
        """Send every callback, one after the other's first attempt."""
        deadline = self._loop.time() + EARLY_TIMEOUT
        for recipient in submission.recipients:
            events, _, signature = self._plan(recipient)
            for event in events:
                tried = self.emit(submission, recipient, id_, event, signature)
                if tried is not None:
                    left = max(0.0, deadline - self._loop.time())
                    await asyncio.wait([asyncio.ensure_future(tried)], timeout=left)

    def _call_back_later(self, submission: Submission, id_: str) -> None:
        """Send every callback at its time, counted from now."""
        pause = self.options.callback_delay_ms / 1e3
        for recipient in submission.recipients:
            events, behaviour, signature = self._plan(recipient)
            delay = self.options.late_delay_ms / 1e3 if behaviour.late else pause
            for event in events:
                self._after(delay, submission, recipient, id_, event, signature)
                delay += pause

    def _after(self, delay: float, *arguments: Any) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self.emit(*arguments)

        timer = self._loop.call_later(delay, due)
        self._timers.add(timer)


def cut(request: web.Request) -> None:
    """Reset a connection: the client sees ECONNRESET, not an end."""
    transport = request.transport
    if transport is None:
        return
    plain: socket.socket | None = transport.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    transport.abort()
