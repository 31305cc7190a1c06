"""Sends one status callback, signed as Standard Webhooks 1.0 says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp.helpers import is_ip_address
from yarl import URL

from adapters.egress import ForbiddenAddress, refuse_private
from adapters.resolution import TENANT, HostNotFound, NoTurn, PublicResolver, Resolver
from adapters.store.tenants import UnknownTenant, webhook_secret

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_TURN_WITHIN = 10.0
"""Seconds for which a tenant's lookup of a host waits for its others."""
_NAMED_WITHIN = 5.0
_PREFIX = "whsec_"
_CONNECTIONS = 2000
_LONGEST_RETRY_AFTER = 3600.0
_FORBIDDEN = "the host has an address that is not public"
"""Never which: a tenant would learn the addresses of names in our own network."""


class CallbackRefused(Exception):
    """The receiver did not answer 2xx, or could not be reached: worth another try.

    `status` is that of its answer, if there was one; `retry_after` is what it asked for, in
    seconds.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after

    @property
    def gone(self) -> bool:
        """True when it wants no more at all (Standard Webhooks, on 410)."""
        return self.status == HTTPStatus.GONE


class CallbackHeldUp(CallbackRefused):
    """We did not come to asking the receiver, and that is not its failure: try again soon."""


class CallbackForbidden(Exception):
    """The address must not be called: never try again."""


class CallbackSender:
    """Posts callbacks. Made on a running event loop."""

    def __init__(self, tenants: Path | str, *, allow_private: bool) -> None:
        self._tenants = tenants
        self._allow_private = allow_private
        self._names = Resolver(check=_any_address) if allow_private else Resolver()
        self._http = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(
                # Slow receivers must not keep the others waiting: each endpoint has its own bound.
                resolver=PublicResolver(self._names),
                limit=_CONNECTIONS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
        await self._names.close()

    async def post(self, tenant: str, url: str, webhook_id: str, body: bytes) -> None:
        """Deliver `body` once. `webhook_id` stays the same when it is repeated.

        Raises CallbackRefused or CallbackForbidden.
        """
        await self.send(url, (await self.secret_of(tenant),), webhook_id, body, tenant=tenant)

    async def secret_of(self, tenant: str) -> str:
        """What signs where no endpoint is named. Raises CallbackForbidden for no tenant of ours."""
        try:
            return await asyncio.to_thread(webhook_secret, self._tenants, tenant)
        except UnknownTenant as error:
            raise CallbackForbidden("the tenant is not known") from error

    async def send(
        self,
        url: str,
        secrets: Sequence[str],
        webhook_id: str,
        body: bytes,
        *,
        tenant: str = "",
    ) -> int:
        """Deliver `body` once, signed with each of the secrets, of which there is at least one.
        Returns the status of the answer, a 2xx. It is the `tenant` who waits when many hosts of its
        are being looked up.

        Raises CallbackRefused, as CallbackHeldUp too, or CallbackForbidden.
        """
        target = self._checked(url)
        await self._find(target, tenant)
        timestamp = str(int(time.time()))
        signature = " ".join(sign(secret, webhook_id, timestamp, body) for secret in secrets)
        headers = {
            "content-type": "application/json",
            "user-agent": "Hermes",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature,
        }
        try:
            async with self._http.post(
                target, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise CallbackRefused(
                        f"HTTP {answer.status}",
                        status=answer.status,
                        retry_after=_seconds(answer.headers.get("retry-after")),
                    )
                return answer.status
        except ForbiddenAddress as error:
            raise CallbackForbidden(_FORBIDDEN) from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, ForbiddenAddress):
                raise CallbackForbidden(_FORBIDDEN) from error
            raise CallbackRefused(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CallbackRefused(type(error).__name__) from error

    def _checked(self, url: str) -> URL:
        """The URL as the client reads it, by whatever spelling the host was given."""
        try:
            target = URL(url)
        except ValueError as error:
            raise CallbackForbidden("the URL is malformed") from error
        if target.scheme != "https" and not (self._allow_private and target.scheme == "http"):
            raise CallbackForbidden("only https is called")
        host = target.raw_host
        if not host:
            raise CallbackForbidden("the URL names no host")
        # aiohttp does not ask the resolver about hosts that it takes for addresses, and the
        # operating system reads `127.1` and `2130706433` as addresses too.
        if not self._allow_private and (":" in host or host.replace(".", "").isdigit()):
            try:
                refuse_private(host)
            except ValueError as error:
                raise CallbackForbidden("the address is malformed") from error
            except ForbiddenAddress as error:
                raise CallbackForbidden(_FORBIDDEN) from error
        return target

    async def _find(self, target: URL, tenant: str) -> None:
        """Look the host up, which the client's own time must not pay for: until a lookup begins it
        is our queue that is slow, and then the host's name servers. What is found is kept, and the
        client gets it from there. Raises CallbackRefused or CallbackForbidden."""
        host, port = target.raw_host, target.port
        if host is None or port is None or is_ip_address(host):
            return
        TENANT.set(tenant)
        try:
            await self._names.addresses(
                host, port, tenant, turn_within=_TURN_WITHIN, answer_within=_NAMED_WITHIN
            )
        except NoTurn as error:
            raise CallbackHeldUp("too many hosts are being looked up") from error
        except TimeoutError as error:
            raise CallbackRefused("the host's name servers do not answer") from error
        except HostNotFound as error:
            raise CallbackRefused("the host was not found") from error
        except ForbiddenAddress as error:
            raise CallbackForbidden(_FORBIDDEN) from error


def _any_address(address: str) -> None:
    """For development."""


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After in seconds; in its other form, a date, it is left alone."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdecimal():
        return None
    return min(float(retry_after), _LONGEST_RETRY_AFTER) if len(retry_after) < 9 else None


def sign(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` header: HMAC-SHA256 over `id.timestamp.body`.

    `secret` is `whsec_` and the base64 of the key (Standard Webhooks, "Signature scheme").
    """
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
