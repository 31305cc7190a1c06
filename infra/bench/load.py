"""Open-loop load: requests leave on schedule, however slowly the answers come."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from adapters.restate.http import HttpClient

_FIRST_NUMBER = 4520_100_000
BLOCK = 9_900
"""Numbers in a row: of every 10,000 the last hundred select other behaviours of the simulator."""
_BLOCKS = 10
CONNECTIONS = 100
"""Of a client, as a pool of one usually has."""
PATIENCE = 30.0
_FILES_BESIDE = 1_000
"""Open files that a process has beside its connections, at most."""
_INSIST_FOR = 60.0
_FINAL = frozenset({"400", "401", "404", "413", "415", "422"})
"""Statuses that no repetition changes. Not 429: what an earlier try began may still be there."""
_AGAIN_AFTER = 0.2


@dataclass
class Sent:
    """What the client saw. `due` holds, by message id, when the request was due (seconds since
    the epoch): waiting for a slow server counts as the server's latency. `texts` holds each
    message's text, which no other has.

    `refused` counts requests, by their last answer, and `repeated` the answers after which one was
    made again. `unsure` holds the texts of those refused ones that may have been taken all the
    same. `left_at` and `lag_ms` say of each scheduled request when it left, and how late that was:
    where they lag, it is the generator that was measured. A wait for one of too few connections is
    no part of it.
    """

    due: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    accept_ms: list[float] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    unsure: set[str] = field(default_factory=set)
    left_at: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests that were decided, either way."""
        return len(self.due) + sum(self.refused.values())

    @property
    def accepted_at(self) -> list[float]:
        """When each of `due` was answered, seconds since the epoch."""
        pairs = zip(self.due.values(), self.accept_ms, strict=True)
        return [due + waited / 1000 for due, waited in pairs]

    def __add__(self, other: Sent) -> Sent:
        both = Sent(self.due | other.due, self.texts | other.texts, dict(self.refused))
        for reason, count in other.refused.items():
            both.refused[reason] = both.refused.get(reason, 0) + count
        both.accept_ms = self.accept_ms + other.accept_ms
        both.repeated = self.repeated + other.repeated
        both.unsure = self.unsure | other.unsure
        both.left_at = self.left_at + other.left_at
        both.lag_ms = self.lag_ms + other.lag_ms
        return both


class UnderWay:
    """Requests that wait for their answers. Each ends in the books, or `settle` says that one did
    not: a load that loses requests would report on fewer than it made."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = 0
        self._broke: BaseException | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, request: Coroutine[Any, Any, None]) -> None:
        """Make a request; returns at once."""
        self._made += 1
        task = asyncio.get_running_loop().create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def fewer_than(self, many: int) -> None:
        """Wait until so many are not under way."""
        while len(self._tasks) >= many:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self, sent: Sent) -> None:
        """Wait for all. Raises RuntimeError when `sent` does not have the end of each."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if sent.answered != self._made:
            raise RuntimeError(
                f"of {self._made} requests the end of {sent.answered} is known"
            ) from self._broke

    def cancel(self) -> None:
        """Give up those that still wait."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self._broke is None:
            self._broke = task.exception()


def allow_connections(count: int) -> None:
    """Let this process, and those that it starts from now on, have so many connections.

    Raises RuntimeError when the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"{wanted} open files are needed, and {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


Order = Callable[[int, str], dict[str, Any]]
"""Makes the body of a request from its number and its text."""


def recipient(number: int) -> str:
    """A Danish mobile that the simulator delivers to, different for 99,000 in a row."""
    block, offset = divmod(number, BLOCK)
    return f"+{_FIRST_NUMBER + block % _BLOCKS * 10_000 + offset}"


def one_time_password(number: int, text: str) -> dict[str, Any]:
    """An OTP by SMS that may take a minute."""
    return {
        "to": {"sms": recipient(number)},
        "content": {"text": text},
        "plan": [{"channel": "sms", "timeout": 60}],
        "category": "otp",
    }


async def send(
    api_url: str,
    key: str,
    *,
    rate: float,
    count: int,
    label: str,
    order: Order = one_time_password,
    insist: bool = False,
    at_once: int = 100_000,
    connections: int = CONNECTIONS,
    patience: float = PATIENCE,
    progress: Callable[[int], None] = lambda sent: None,
) -> Sent:
    """Post `count` messages at `rate` a second; returns when each has its answer, or none within
    `patience` seconds. Raises RuntimeError when the end of one is not known.

    Every text is different and begins with `label`, so that the receiving side can count. With
    more than `at_once` requests unanswered the schedule waits, and so does a request while all
    `connections` are waiting for answers: an open loop needs `rate` times `patience` of both. Who
    insists repeats a request that was not answered, under its idempotency key, so that no message
    is accepted unheard.
    """
    sent = Sent()
    # The cheapest client there is: the load shares its processors with what it measures.
    http = HttpClient(api_url, connections=connections, timeout=patience)
    client = _Client(http, key, sent, label if insist else None)
    under_way = UnderWay()
    began, began_at = time.monotonic(), time.time()
    try:
        for number in range(count):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            await under_way.fewer_than(at_once)
            text = f"{label} {number:06}: your code is 4711"
            due = began_at + number / rate
            under_way.begin(client.post(number, text, order(number, text), due))
            if number % 50 == 0:
                progress(number)
        await under_way.settle(sent)
    finally:
        under_way.cancel()
        await http.close()
    progress(count)
    return sent


class _Client:
    """One tenant's requests; `keys` is what its idempotency keys begin with, None for none."""

    def __init__(self, http: HttpClient, key: str, sent: Sent, keys: str | None) -> None:
        self._http = http
        self._headers = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        self._sent = sent
        self._keys = keys

    async def post(self, number: int, text: str, order: dict[str, Any], due: float) -> None:
        body = json.dumps(order).encode()
        headers = self._headers
        if self._keys is not None:
            headers += f"idempotency-key: {self._keys}-{number}\r\n"
        sent, now = self._sent, time.time()
        sent.left_at.append(now)
        sent.lag_ms.append((now - due) * 1000)
        give_up = time.monotonic() + _INSIST_FOR
        unsure = False
        while (reason := await self._try(text, body, headers, due)) is not None:
            # No answer, or one that a server gives which does not know itself.
            unsure = unsure or not reason.startswith("4")
            if reason in _FINAL or self._keys is None or time.monotonic() > give_up:
                sent.refused[reason] = sent.refused.get(reason, 0) + 1
                if unsure:
                    sent.unsure.add(text)
                return
            sent.repeated[reason] += 1
            await asyncio.sleep(_AGAIN_AFTER)

    async def _try(self, text: str, body: bytes, headers: str, due: float) -> str | None:
        """None when the message was accepted, else why it was not."""
        try:
            answer = await self._http.request("POST", "/v1/messages", body, headers)
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        if answer.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return str(answer.status)
        message = json.loads(answer.body)["id"]
        self._sent.due[message] = due
        self._sent.texts[message] = text
        self._sent.accept_ms.append((time.time() - due) * 1000)
        return None


def by_day() -> str:
    """A time zone in which it is about noon: by night, marketing would wait for the morning."""
    ahead = 12 - datetime.now(UTC).hour
    # POSIX counts from the clock to UTC: Etc/GMT-2 is two hours ahead.
    return f"Etc/GMT{-ahead:+}"
