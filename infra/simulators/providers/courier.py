"""Callbacks on their way: sent, tried again as the provider would, and recorded."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urldefrag, urlsplit

import aiohttp
from msgspec import Struct
from yarl import URL

from infra.simulators.providers.record import MAX_BODY, Attempt, Callback, Record

MAX_CONNECTIONS: Final = 100
CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 15.0
"""Seconds; Twilio's own."""
_MAX_ANSWER: Final = 200
_MAX_READ: Final = 65_536


class Outgoing(Struct):
    """One callback to send. `headers` makes the headers of an attempt, the signature among them;
    `retry` says how many seconds to wait after the Nth attempt, None to give up."""

    url: str
    content_type: str
    body: bytes
    signature: str
    headers: Callable[[], Mapping[str, str]]
    retry: Callable[[Attempt, int], float | None]
    origin: str | None = None


class Courier:
    """Sends callbacks, each in its own time. Made on a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, outgoing: Outgoing, record: Record) -> "asyncio.Future[None]":
        """Begin to send; the future is done after the first attempt."""
        tried: asyncio.Future[None] = self._loop.create_future()
        task = self._loop.create_task(self._deliver(outgoing, record, tried))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return tried

    def clear(self) -> None:
        """Forget every callback that is not delivered yet."""
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """Forget everything and close every connection."""
        self.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def ask(self, url: str, origin: str | None) -> tuple[int, str]:
        """GET a webhook; status and body.

        Raises:
            OSError: there was no answer.
        """
        target, host = route(url, origin)
        try:
            async with self._session.get(
                target, headers={"Host": host}, allow_redirects=False
            ) as response:
                text = (await response.content.read(_MAX_READ)).decode("utf-8", "replace")
                return response.status, text
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{url}: {_reason(error)}") from None

    async def _deliver(
        self, outgoing: Outgoing, record: Record, tried: "asyncio.Future[None]"
    ) -> None:
        callback = Callback(
            time.time(),
            outgoing.url,
            outgoing.content_type,
            outgoing.body[:MAX_BODY].decode("utf-8", "replace"),
            outgoing.signature,
        )
        record.callbacks.append(callback)
        record.counters.callbacks += 1
        try:
            for number in itertools.count(1):
                attempt = await self._attempt(outgoing)
                callback.attempts.append(attempt)
                record.counters.callback_attempts += 1
                record.answers[str(attempt.status or attempt.error)] += 1
                if not tried.done():
                    tried.set_result(None)
                if attempt.succeeded:
                    callback.state = "delivered"
                    record.counters.callbacks_delivered += 1
                    return
                pause = outgoing.retry(attempt, number)
                if pause is None:
                    break
                await asyncio.sleep(pause)
            callback.state = "given_up"
            record.counters.callbacks_given_up += 1
        finally:
            if not tried.done():
                tried.cancel()

    async def _attempt(self, outgoing: Outgoing) -> Attempt:
        target, host = route(outgoing.url, outgoing.origin)
        headers = {"Host": host, "Content-Type": outgoing.content_type, **outgoing.headers()}
        at, began = time.time(), self._loop.time()
        status = error = answer = None
        try:
            async with self._session.post(
                target, data=outgoing.body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
                read = await response.content.read(_MAX_READ)
                if not 200 <= status < 300:
                    answer = read[:_MAX_ANSWER].decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            status, error = None, _reason(failure)
        return Attempt(at, round((self._loop.time() - began) * 1e3, 2), status, error, answer)


def route(url: str, origin: str | None) -> tuple[URL, str]:
    """Where to connect for a webhook, and the Host header: the webhook's own in either case."""
    whole = urldefrag(url).url
    parts = urlsplit(whole)
    if origin is not None:
        whole = origin + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # The signature covers the query as it stands: it must not be quoted anew.
    return URL(whole, encoded=True), parts.netloc.rpartition("@")[2]


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return "connect"
    if isinstance(error, aiohttp.InvalidURL):
        return "url"
    return "timeout" if isinstance(error, TimeoutError) else "reset"


def backoff(retries: int, first_ms: float) -> Callable[[Attempt, int], float | None]:
    """So many more attempts, each pause twice the one before, at most a minute."""

    def retry(_: Attempt, number: int) -> float | None:
        return None if number > retries else min(first_ms / 1e3 * 2 ** (number - 1), 60.0)

    return retry
