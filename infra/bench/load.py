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
_MAGIC = 100
"""Of every 10,000 numbers the last hundred select other behaviours of the simulator."""
_BLOCKS = 10
_CONNECTIONS = 100
_REQUEST_TIMEOUT = 30.0


@dataclass
class Sent:
    """What the client saw. `due` holds, by message id, when the request was due (seconds since
    the epoch): waiting for a slow server counts as the server's latency."""

    due: dict[str, float] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    accept_ms: list[float] = field(default_factory=list)


def recipient(number: int) -> str:
    """A Danish mobile that the simulator delivers to, different for 99,000 in a row."""
    block, offset = divmod(number, 10_000 - _MAGIC)
    return f"+{_FIRST_NUMBER + block % _BLOCKS * 10_000 + offset}"


async def send(
    api_url: str,
    key: str,
    *,
    rate: float,
    count: int,
    label: str,
    progress: Callable[[int], None] = lambda sent: None,
) -> Sent:
    """Post `count` messages at `rate` a second; returns when each has its answer.

    Every text is different and begins with `label`, so that the receiving side can count.
    """
    sent = Sent()
    headers = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    # The cheapest client there is: the load shares its processors with what it measures.
    http = HttpClient(api_url, connections=_CONNECTIONS, timeout=_REQUEST_TIMEOUT)
    under_way: set[asyncio.Task[None]] = set()
    began, began_at = time.monotonic(), time.time()
    for number in range(count):
        wait = began + number / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        post = _post(http, headers, _body(label, number), began_at + number / rate, sent)
        task = asyncio.get_running_loop().create_task(post)
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        if number % 50 == 0:
            progress(number)
    while under_way:
        await asyncio.wait(under_way)
    await http.close()
    progress(count)
    return sent


def _body(label: str, number: int) -> bytes:
    order: dict[str, Any] = {
        "to": {"sms": recipient(number)},
        "content": {"text": f"{label} {number:06}: your code is 4711"},
        "plan": [{"channel": "sms", "timeout": 60}],
        "category": "otp",
    }
    return json.dumps(order).encode()


async def _post(http: HttpClient, headers: str, body: bytes, due: float, sent: Sent) -> None:
    try:
        answer = await http.request("POST", "/v1/messages", body, headers)
    except (OSError, TimeoutError) as error:
        reason = type(error).__name__
    else:
        if answer.status == HTTPStatus.ACCEPTED:
            sent.due[json.loads(answer.body)["id"]] = due
            sent.accept_ms.append((time.time() - due) * 1000)
            return
        reason = str(answer.status)
    sent.refused[reason] = sent.refused.get(reason, 0) + 1
