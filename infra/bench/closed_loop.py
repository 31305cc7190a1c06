"""Closed-loop load: so many messages under way, for as long as the load lasts."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from adapters.restate.http import HttpClient
from infra.bench.load import Order, Sent, UnderWay

_CONNECTIONS = 100
_TIMEOUT = 30.0


async def keep_busy(
    api_url: str,
    key: str,
    under_way: Callable[[], Awaitable[int]],
    *,
    at_once: int,
    look_every: float,
    seconds: float,
    label: str,
    order: Order,
) -> Sent:
    """Post as many messages as `under_way`, and the requests without an answer, are short of
    `at_once`, again and again; returns when the time is over and each request has its answer.
    Raises RuntimeError when the end of one is not known.

    What an engine ends in `look_every` seconds has to be little beside `at_once`. No more than
    `at_once` a second are posted: a heap at the beginning would be a wave to the end. Every text is
    different and begins with `label`.
    """
    http = HttpClient(api_url, connections=_CONNECTIONS, timeout=_TIMEOUT)
    headers = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    sent = Sent()

    async def post(number: int) -> None:
        text = f"{label} {number:06}: your code is 4711"
        due = time.time()
        try:
            body = json.dumps(order(number, text)).encode()
            answer = await http.request("POST", "/v1/messages", body, headers)
        except (OSError, TimeoutError) as error:
            refused(type(error).__name__)
            return
        if answer.status != HTTPStatus.ACCEPTED:
            refused(str(answer.status))
            return
        message = json.loads(answer.body)["id"]
        sent.due[message], sent.texts[message] = due, text
        sent.accept_ms.append((time.time() - due) * 1000)

    def refused(reason: str) -> None:
        sent.refused[reason] = sent.refused.get(reason, 0) + 1

    number, until = 0, time.monotonic() + seconds
    at_a_time = math.ceil(at_once * look_every)
    unanswered = UnderWay()
    try:
        while time.monotonic() < until:
            room = at_once - len(unanswered) - await under_way()
            for _ in range(min(room, at_a_time)):
                unanswered.begin(post(number))
                number += 1
            await asyncio.sleep(look_every)
        await unanswered.settle(sent)
    finally:
        unanswered.cancel()
        await http.close()
    return sent
