"""Access tokens: fetched by the host, kept until shortly before they end, by one at a time."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from adapters.wasm.egress import google
from adapters.wasm.egress.client import Client, Origin
from adapters.wasm.egress.compression import encodings, plain
from adapters.wasm.egress.faults import HttpFault

EARLY: Final = 300.0
"""Seconds before its end that a token is no longer given out."""
REFUSAL_KEPT: Final = 10.0
"""Seconds that a refusal is repeated without asking: a wrong key must not cost a call a message."""
YOUNGEST_DROPPED: Final = 30.0
"""Seconds of age below which a token is kept, though a provider refuses it: a new one would be as
bad, and there is a limit to how many Google gives out."""
_FETCH: Final = 10.0
"""Seconds for one fetch."""
_MOST: Final = 4_096
_ANSWER: Final = 65_536
_TOKEN: Final = re.compile(r"[!-~]{1,8192}")
_ERROR: Final = re.compile(r"[a-z_]{1,64}")

Key = tuple[bytes, str]


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float


class _Refusal(msgspec.Struct):
    error: str = ""


@dataclass(slots=True)
class _Kept:
    token: str | None
    fault: HttpFault | None
    since: float
    until: float


class TokenCache:
    """Tokens of Google service accounts, by account and scope. `clock` is in seconds since 1970."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[Key, _Kept] = {}
        self._asked: dict[Key, asyncio.Task[str]] = {}

    async def token(self, account: str, scope: str) -> str:
        """A token that is good for some minutes more. Raises HttpFault, with nothing sent."""
        key = _key(account, scope)
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            if kept.token is not None:
                return kept.token
            assert kept.fault is not None
            raise HttpFault(kept.fault.kind, kept.fault.message)
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, account, scope))
            self._asked[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        try:
            return await asyncio.shield(task)
        except HttpFault as fault:
            # One exception for all who wait would collect all their tracebacks.
            raise HttpFault(fault.kind, fault.message) from None

    def drop(self, account: str, scope: str, token: str) -> None:
        """A provider does not take this token any more: the next call gets a new one."""
        key = _key(account, scope)
        kept = self._kept.get(key)
        if kept is None or kept.token != token:
            return
        if self._clock() - kept.since >= YOUNGEST_DROPPED:
            del self._kept[key]

    async def close(self) -> None:
        """Give up what is being fetched."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _fetch(self, key: Key, account: str, scope: str) -> str:
        now = self._clock()
        try:
            granted = await self._ask(account, scope, now)
        except HttpFault as fault:
            self._keep(key, _Kept(None, fault, now, now + REFUSAL_KEPT))
            raise
        # One that lives for less than that twice over is kept for half of its life.
        until = now + max(granted.expires_in - EARLY, granted.expires_in / 2)
        self._keep(key, _Kept(granted.access_token, None, now, until))
        return granted.access_token

    async def _ask(self, account: str, scope: str, now: float) -> _Granted:
        try:
            form = await asyncio.to_thread(google.asked_with, account, scope, now)
        except google.BadAccount as error:
            raise HttpFault("secret", f"the service account: {error}") from None
        head = (
            f"POST {google.PATH} HTTP/1.1\r\nhost: {google.HOST}\r\nuser-agent: Hermes\r\n"
            "content-type: application/x-www-form-urlencoded\r\naccept-encoding: identity\r\n"
            f"content-length: {len(form)}\r\n\r\n"
        )
        deadline = asyncio.get_running_loop().time() + _FETCH
        origin = Origin("", google.HOST, 443)
        try:
            answer = await self._client.exchange(
                origin, head.encode() + form, cap=_ANSWER, deadline=deadline
            )
        except HttpFault as fault:
            raise HttpFault(fault.kind, f"the token: {fault.message}") from fault
        if answer.status != 200:
            raise _refused(answer.status, answer.body)
        try:
            body = plain(answer.body, encodings(answer.headers), _ANSWER)
            granted = msgspec.json.decode(body, type=_Granted)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise HttpFault("malformed", f"the token: {google.HOST} gave none") from None
        if _TOKEN.fullmatch(granted.access_token) is None:
            raise HttpFault("malformed", f"the token: {google.HOST} gave none")
        return granted

    def _keep(self, key: Key, kept: _Kept) -> None:
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[key] = kept

    def _answered(self, key: Key, task: asyncio.Task[str]) -> None:
        del self._asked[key]
        if not task.cancelled():
            # Whoever waited has it; nobody may be left to.
            task.exception()


def _key(account: str, scope: str) -> Key:
    return hashlib.sha256(account.encode()).digest(), scope


def _refused(status: int, body: bytes) -> HttpFault:
    try:
        said = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = ""
    # RFC 6749, section 5.2: the codes are words; the description may say anything.
    word = f" {said}" if _ERROR.fullmatch(said) else ""
    message = f"the token: {google.HOST} answered {status}{word}"
    return HttpFault("connect" if status == 429 or status >= 500 else "secret", message)
