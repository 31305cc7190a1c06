"""The way to the bind pools that takes no step of Restate's; `handlers.delivery.door` opens it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from adapters.restate.http import Answer, ConnectionGone, HttpClient
from domain.delivery import DeliveryRequest, Submission

PATH = "/deliver"
_CONNECTIONS = 4000
"""One for each attempt that waits for its answer, as Restate keeps one for each."""
_TIMEOUT = 30.0
"""Seconds; whoever asks has less patience."""
_CONNECTED_WITHIN = 0.5
"""Seconds after which another pool is asked, where there is one."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Submission).decode


class PoolDoor:
    """The doors of the bind pools at `urls`, in turns. Made on a running event loop."""

    def __init__(self, urls: Sequence[str], key: str) -> None:
        within = _CONNECTED_WITHIN if len(urls) > 1 else None
        self._pools = [
            HttpClient(url, connections=_CONNECTIONS, timeout=_TIMEOUT, connect_timeout=within)
            for url in urls
        ]
        self._next = 0
        self._headers = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"

    async def close(self) -> None:
        """Close the idle connections."""
        for pool in self._pools:
            await pool.close()

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """A pool's answer. Raises OSError when none gives one: what became of the attempt then,
        the journal of the pools knows."""
        body = _encode(request)
        unreachable: OSError | None = None
        for pool in self._in_turn():
            try:
                return _read(await self._ask(pool, body))
            except (ConnectionGone, TimeoutError):
                raise
            except OSError as error:
                unreachable = error
        assert unreachable is not None
        raise unreachable

    def _in_turn(self) -> Sequence[HttpClient]:
        self._next = (self._next + 1) % len(self._pools)
        return self._pools[self._next :] + self._pools[: self._next]

    async def _ask(self, pool: HttpClient, body: bytes) -> Answer:
        try:
            return await pool.request("POST", PATH, body, self._headers)
        except ConnectionGone:
            # It was idle for too long, most likely; and the pool knows an attempt again.
            return await pool.request("POST", PATH, body, self._headers)


def _read(answer: Answer) -> Submission:
    if answer.status != HTTPStatus.OK:
        raise ConnectionError(f"the bind pool answered {answer.status}")
    try:
        return _decode(answer.body)
    except msgspec.MsgspecError as error:
        raise ConnectionError("the bind pool answered what is no submission") from error
