"""Sends one status callback, signed as Standard Webhooks 1.0 says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from adapters.callbacks.egress import ForbiddenAddress, PublicResolver, refuse_private
from adapters.store.tenants import webhook_secret

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_PREFIX = "whsec_"


class CallbackRefused(Exception):
    """The receiver did not answer 2xx, or could not be reached: worth another try."""


class CallbackForbidden(Exception):
    """The address must not be called: never try again."""


class CallbackSender:
    """Posts callbacks. Made on a running event loop."""

    def __init__(self, tenants: Path, *, allow_private: bool) -> None:
        self._tenants = tenants
        self._allow_private = allow_private
        self._http = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(
                resolver=None if allow_private else PublicResolver(), limit=64
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def post(self, tenant: str, url: str, webhook_id: str, body: bytes) -> None:
        """Deliver `body` once. `webhook_id` stays the same when it is repeated.

        Raises CallbackRefused or CallbackForbidden.
        """
        self._check(url)
        timestamp = str(int(time.time()))
        signature = sign(webhook_secret(self._tenants, tenant), webhook_id, timestamp, body)
        headers = {
            "content-type": "application/json",
            "user-agent": "Hermes",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature,
        }
        try:
            async with self._http.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise CallbackRefused(f"HTTP {answer.status}")
        except ForbiddenAddress as error:
            raise CallbackForbidden(str(error)) from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, ForbiddenAddress):
                raise CallbackForbidden(str(error.os_error)) from error
            raise CallbackRefused(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CallbackRefused(type(error).__name__) from error

    def _check(self, url: str) -> None:
        # aiohttp does not ask the resolver about hosts that are addresses already.
        parts = urlsplit(url)
        if parts.scheme != "https" and not (self._allow_private and parts.scheme == "http"):
            raise CallbackForbidden("only https is called")
        if self._allow_private or parts.hostname is None:
            return
        try:
            ipaddress.ip_address(parts.hostname)
        except ValueError:
            return
        try:
            refuse_private(parts.hostname)
        except ForbiddenAddress as error:
            raise CallbackForbidden(str(error)) from error


def sign(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` header: HMAC-SHA256 over `id.timestamp.body`.

    `secret` is `whsec_` and the base64 of the key (Standard Webhooks, "Signature scheme").
    """
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
