"""What would become of a message, by everybody who has a say in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from adapters.restate.http import HttpClient
from adapters.routing.providers import ProviderRouter
from domain.routing.explanation import Asked, Explanation, merged

logger = logging.getLogger(__name__)

PATH: Final = "/admin/v1/routes/explain"
_TIMEOUT: Final = 2.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Explanation).decode


class Explainer:
    """Asks this process's router and, about carriers, a bind pool, which chooses among them. Made
    on a running event loop."""

    def __init__(self, router: ProviderRouter, pools: Sequence[str], key: str) -> None:
        self._router = router
        self._header = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        self._pools = [HttpClient(url, connections=1, timeout=_TIMEOUT) for url in pools]

    async def explain(self, asked: Asked) -> Explanation:
        """The explanation. Without a pool that answers, the carriers are as this process last
        knew them."""
        ours = self._router.explain(asked)
        if asked.channel != "sms":
            return ours
        carriers = await self._ask(asked)
        return ours if carriers is None else merged(ours, carriers)

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(pool.close() for pool in self._pools))

    async def _ask(self, asked: Asked) -> Explanation | None:
        for pool in self._pools:
            try:
                answer = await pool.request("POST", PATH, _encode(asked), self._header)
                if answer.status == HTTPStatus.OK:
                    return _decode(answer.body)
                logger.warning("a bind pool explains no route: HTTP %d", answer.status)
            except (OSError, TimeoutError, msgspec.MsgspecError) as error:
                logger.warning("a bind pool explains no route: %s", error)
        return None
