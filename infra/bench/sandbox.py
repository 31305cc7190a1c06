"""The provider sandbox and the mail sink of a stack, seen through their control ports."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

_PATIENCE: Final = 30.0
_NEWEST: Final = 10_000
"""What each of them lists at once, and keeps."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The providers. `url` is their control port's."""

    url: str

    async def set(self, provider: str, **options: Any) -> None:
        """Change how one provider behaves from now on."""
        await _ask(f"{self.url}/options?provider={provider}", "PATCH", options)

    async def accepted(self, provider: str) -> int:
        """How many messages a provider took since its start, whatever it still lists."""
        return int((await _ask(f"{self.url}/stats"))[provider]["accepted"])

    async def taken(self, provider: str) -> Counter[str]:
        """Every text that a provider took, and how often."""
        path = f"/messages?provider={provider}&limit={_NEWEST}"
        answer = await _ask(self.url + path)
        return Counter(message["text"] for message in answer[provider])


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The mail sink. `url` is its control port's."""

    url: str

    async def accepted(self) -> int:
        """How many mails it took since its start, whatever it still lists."""
        return int((await _ask(f"{self.url}/stats"))["accepted"])

    async def taken(self) -> Counter[str]:
        """Every text that it took, and how often."""
        answer = await _ask(f"{self.url}/messages?limit={_NEWEST}")
        return Counter((mail["text"] or "").strip() for mail in answer["messages"])


async def _ask(url: str, method: str = "GET", body: Any = None) -> Any:
    return await asyncio.to_thread(_ask_now, url, method, body)


def _ask_now(url: str, method: str, body: Any) -> Any:
    request = urllib.request.Request(  # noqa: S310 - ours
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
        return json.loads(answer.read())
