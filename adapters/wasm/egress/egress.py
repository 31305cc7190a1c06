"""HTTP for guests: what they may call, with what, how much of it, and what they see of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from adapters.wasm.contract import HttpError, HttpPort, HttpRequest, HttpResponse
from adapters.wasm.egress.client import Client
from adapters.wasm.egress.compression import encodings, plain
from adapters.wasm.egress.connection import RawAnswer
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.head import Head
from adapters.wasm.egress.placeholders import Vault, tokens_named
from adapters.wasm.egress.resolution import Resolver
from adapters.wasm.egress.rules import AllowList, Target, kept
from adapters.wasm.egress.tokens import TokenCache
from adapters.wasm.installed import Installed

P = ParamSpec("P")
T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_MOST_RIGHTS: Final = 1_024
_LARGE: Final = 65_536
"""Characters. With the usual ten secrets to look for, 0.1 ms."""
_THREADS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="egress")
_MOST_HEADS: Final = 32
_KEPT_HEAD: Final = 2_048
"""Bytes."""


class Egress:
    """All guests' way out, one for a process: connections, addresses and tokens are kept here.

    Made on a running event loop. `reroute` maps hosts to `http(s)://host:port` for development, and
    changes no other rule; `trust` replaces the system's authorities.
    """

    def __init__(
        self,
        *,
        reroute: Mapping[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = Client(reroute=reroute, trust=trust, resolver=resolver)
        self._tokens = TokenCache(self._client, clock=clock)
        self._seal_key = secrets.token_bytes(32)
        self._rights: dict[tuple[str, str, str, int], _Rights] = {}

    def port(self, installed: Installed) -> HttpPort:
        """The way out for ONE guest call: it counts that call's requests."""
        return _Port(self._client, self._tokens, self._rights_of(installed))

    def placeholder(self, installed: Installed, name: str) -> str:
        """What the guest gets in the place of the secret `name`, and may put into a header, a URL
        or a body. It is good in this process, for this configuration. Raises KeyError."""
        return self._rights_of(installed).vault.sealed(name)

    async def close(self) -> None:
        """Close the connections; what is under way fails."""
        await self._tokens.close()
        await self._client.close()

    def _rights_of(self, installed: Installed) -> _Rights:
        key = (installed.tenant, installed.adapter, installed.version, installed.revision)
        rights = self._rights.get(key)
        if rights is None or rights.installed is not installed:
            if len(self._rights) >= _MOST_RIGHTS:
                self._rights.clear()
            rights = self._rights[key] = _Rights(installed, self._seal_key)
        return rights


class _Rights:
    """What one configuration of one adapter may do, made ready once."""

    def __init__(self, installed: Installed, seal_key: bytes) -> None:
        self.installed = installed
        self.allowed = AllowList(installed.manifest.hosts)
        self.vault = Vault(
            installed.values,
            installed.secrets,
            seal_key=seal_key,
            scope=f"{installed.tenant}\0{installed.adapter}\0{installed.revision}",
        )
        self.heads: dict[tuple[str, str, tuple[tuple[str, str], ...]], Head] = {}

    def keep(self, asked: tuple[str, str, tuple[tuple[str, str], ...]], head: Head) -> None:
        """Remember a head for the next request that asks for it: most providers have one address
        for all messages. To check it and to fill it in takes 25 µs."""
        if len(head.octets) > _KEPT_HEAD:
            return
        if len(self.heads) >= _MOST_HEADS:
            self.heads.clear()
        self.heads[asked] = head


class _Port:
    """The way out for one guest call."""

    def __init__(self, client: Client, tokens: TokenCache, rights: _Rights) -> None:
        self._client = client
        self._tokens = tokens
        self._rights = rights
        self._calls = 0

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        """The provider's answer, a redirect as it is, or why there is none. Raises nothing but
        cancellation."""
        try:
            return await self._send(request)
        except HttpFault as fault:
            return fault.told()
        except Exception as error:
            # Neither the message nor the traceback's values: they may hold what was filled in.
            _LOG.error("a guest's request failed in the host: %s", type(error).__name__)
            return HttpError("malformed", "the host failed; see its logs", maybe_sent=True)

    async def _send(self, request: HttpRequest) -> HttpResponse:
        limits = self._rights.installed.manifest.limits
        self._calls += 1
        if self._calls > limits.http_calls:
            raise HttpFault("limit", f"one call makes at most {limits.http_calls} requests")
        allowed = min(request.timeout_ms or limits.http_timeout_ms, limits.http_timeout_ms)
        deadline = asyncio.get_running_loop().time() + allowed / 1_000
        tokens: dict[str, str] = {}
        head = self._rights.heads.get((request.method, request.url, request.headers))
        if head is None:
            head, tokens = await self._head(request, deadline)
        if len(request.body) < _LARGE:
            data = self._written(head, request.body)
        else:
            data = await _aside(self._written, head, request.body)
        raw = await self._client.exchange(
            head.origin, data, cap=limits.response_bytes, deadline=deadline
        )
        if raw.status == 401:
            self._drop(tokens)
        named = encodings(raw.headers)
        # Of what is compressed the length says little.
        if not named and len(raw.body) * (self._rights.vault.effort + 8) // 32 < _LARGE:
            return self._shown(raw, named, tokens)
        return await _aside(self._shown, raw, named, tokens)

    async def _head(self, request: HttpRequest, deadline: float) -> tuple[Head, dict[str, str]]:
        """The head of a request, and the tokens in it."""
        target = self._rights.allowed.target(request.url)
        headers = kept(request.headers)
        tokens = await self._fetched(target, headers, deadline)
        head = Head.of(
            self._rights.installed.tenant,
            request.method,
            target,
            headers,
            self._rights.vault,
            tokens,
        )
        if not tokens:
            self._rights.keep((request.method, request.url, request.headers), head)
        return head, tokens

    async def _fetched(
        self, target: Target, headers: list[tuple[str, str]], deadline: float
    ) -> dict[str, str]:
        """The tokens that the request names."""
        found: dict[str, str] = {}
        for name in tokens_named([target.path, *(value for _, value in headers)]):
            account, scope = self._account(name)
            try:
                async with asyncio.timeout_at(deadline):
                    found[name] = await self._tokens.token(account, scope)
            except TimeoutError:
                raise HttpFault("timeout", f"the token {name} did not come in time") from None
        return found

    def _drop(self, tokens: Mapping[str, str]) -> None:
        for name, token in tokens.items():
            self._tokens.drop(*self._account(name), token)

    def _account(self, name: str) -> tuple[str, str]:
        declared = self._rights.installed.manifest.tokens.get(name)
        if declared is None:
            raise HttpFault("secret", f"the manifest has no token {name}")
        return self._rights.vault.text(declared.key), declared.scope

    def _written(self, head: Head, body: str) -> bytes:
        """The request's bytes, with its placeholders filled in: the host is an allowed one."""
        filled = self._rights.vault.in_body(body, head.content_type)
        data = filled.encode("utf-8", "replace")
        most = self._rights.installed.manifest.limits.request_bytes
        if len(data) > most:
            raise HttpFault("too_large", f"the request is over its limit of {most:,}")
        return head.before(data)

    def _shown(self, raw: RawAnswer, named: list[str], tokens: Mapping[str, str]) -> HttpResponse:
        """What the guest sees of an answer."""
        octets = plain(raw.body, named, self._rights.installed.manifest.limits.response_bytes)
        body, vault, used = octets.decode("utf-8", "replace"), self._rights.vault, tokens.values()
        # Hardly any answer repeats a secret: one look at all of it, instead of one at each header.
        if vault.clean("\0".join([body, *(value for _, value in raw.headers)]), used):
            return HttpResponse(raw.status, raw.headers, body)
        headers = tuple((name, vault.mask(value, used)) for name, value in raw.headers)
        return HttpResponse(raw.status, headers, vault.mask(body, used))


async def _aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do in a thread what the loop would wait for."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_THREADS, partial(function, *args, **kwargs))
