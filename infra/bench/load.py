"""Open-loop load: requests leave on schedule, however slowly the answers come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from adapters.restate.http import HttpClient

_FIRST_NUMBER = 4520_100_000
BLOCK = 9_900
"""Numbers in a row: of every 10,000 the last hundred select other behaviours of the simulator."""
_BLOCKS = 10
CONNECTIONS = 100
"""Of a client, as a pool of one usually has."""
_REQUEST_TIMEOUT = 30.0
_INSIST_FOR = 60.0
_FINAL = frozenset({"400", "401", "404", "413", "415", "422"})
"""Statuses that no repetition changes. Not 429: what an earlier try began may still be there."""
_AGAIN_AFTER = 0.2


@dataclass
class Sent:
    """What the client saw. `due` holds, by message id, when the request was due (seconds since
    the epoch): waiting for a slow server counts as the server's latency. `texts` holds each
    message's text, which no other has."""

    due: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    accept_ms: list[float] = field(default_factory=list)

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
        return both


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
    progress: Callable[[int], None] = lambda sent: None,
) -> Sent:
    """Post `count` messages at `rate` a second; returns when each has its answer.

    Every text is different and begins with `label`, so that the receiving side can count. With
    more than `at_once` requests unanswered the schedule waits, and so does a request while all
    `connections` are waiting for answers. Who insists repeats a request that
    was not answered, under its idempotency key, so that no message is accepted unheard.
    """
    sent = Sent()
    # The cheapest client there is: the load shares its processors with what it measures.
    http = HttpClient(api_url, connections=connections, timeout=_REQUEST_TIMEOUT)
    client = _Client(http, key, sent, label if insist else None)
    under_way: set[asyncio.Task[None]] = set()
    began, began_at = time.monotonic(), time.time()
    try:
        for number in range(count):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            while len(under_way) >= at_once:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            text = f"{label} {number:06}: your code is 4711"
            post = client.post(number, text, order(number, text), began_at + number / rate)
            task = asyncio.get_running_loop().create_task(post)
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            if number % 50 == 0:
                progress(number)
        while under_way:
            await asyncio.wait(under_way)
    finally:
        for task in under_way:
            task.cancel()
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
        give_up = time.monotonic() + _INSIST_FOR
        while True:
            reason = await self._try(text, body, headers, due)
            if reason is None or reason in _FINAL or self._keys is None:
                break
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(_AGAIN_AFTER)
        if reason is not None:
            self._sent.refused[reason] = self._sent.refused.get(reason, 0) + 1

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
