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
from adapters.wasm.egress.client import Client, Origin
from adapters.wasm.egress.compression import encodings, plain
from adapters.wasm.egress.connection import RawAnswer
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.placeholders import Vault, tokens_named
from adapters.wasm.egress.resolution import Resolver
from adapters.wasm.egress.rules import MAX_HEAD, AllowList, Target, kept
from adapters.wasm.egress.tokens import TokenCache
from adapters.wasm.installed import Installed

P = ParamSpec("P")
T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_MOST_RIGHTS: Final = 1_024
_LARGE: Final = 65_536
"""Characters. With the usual ten secrets to look for, 0.1 ms."""
_THREADS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="egress")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


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
        target = self._rights.allowed.target(request.url)
        headers = kept(request.headers)
        tokens = await self._fetched(target, headers, deadline)
        data = await _aside(
            len(request.body), self._written, request.method, target, headers, request.body, tokens
        )
        origin = Origin(self._rights.installed.tenant, target.host, target.port)
        raw = await self._client.exchange(
            origin, data, cap=limits.response_bytes, deadline=deadline
        )
        if raw.status == 401:
            self._drop(tokens)
        named = encodings(raw.headers)
        # Of what is compressed the length says little.
        effort = _LARGE if named else len(raw.body) * (self._rights.vault.effort + 8) // 32
        return await _aside(effort, self._shown, raw, named, tokens)

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

    def _written(
        self,
        method: str,
        target: Target,
        headers: list[tuple[str, str]],
        body: str,
        tokens: Mapping[str, str],
    ) -> bytes:
        """The request's bytes, with its placeholders filled in: the host is an allowed one."""
        vault = self._rights.vault
        names = dict(headers)
        data = vault.in_body(body, names.get("content-type", "").lower()).encode("utf-8", "replace")
        most = self._rights.installed.manifest.limits.request_bytes
        if len(data) > most:
            raise HttpFault("too_large", f"the request is over its limit of {most:,}")
        lines = [
            f"{method} {vault.in_path(target.path, tokens)} HTTP/1.1",
            f"host: {target.authority}",
            "accept-encoding: identity",
        ]
        if "user-agent" not in names:
            lines.append("user-agent: Hermes")
        if data or method in _WITH_BODY:
            lines.append(f"content-length: {len(data)}")
        lines += [f"{name}: {vault.in_header(name, value, tokens)}" for name, value in headers]
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        if len(head) > MAX_HEAD:
            raise HttpFault("too_large", f"the request's head is over its limit of {MAX_HEAD:,}")
        return head + data

    def _shown(self, raw: RawAnswer, named: list[str], tokens: Mapping[str, str]) -> HttpResponse:
        """What the guest sees of an answer."""
        body = plain(raw.body, named, self._rights.installed.manifest.limits.response_bytes)
        mask, used = self._rights.vault.mask, tuple(tokens.values())
        headers = tuple((name, mask(value, used)) for name, value in raw.headers)
        return HttpResponse(raw.status, headers, mask(body.decode("utf-8", "replace"), used))


async def _aside(effort: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it, in a thread when the loop would wait for it: `effort` is in characters."""
    if effort < _LARGE:
        return function(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_THREADS, partial(function, *args, **kwargs))
