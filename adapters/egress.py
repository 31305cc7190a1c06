"""Outbound HTTP to hosts that users name: public addresses only, and those that were checked."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class ForbiddenAddress(OSError):
    """The host's address is not a public one."""


class PublicResolver(AbstractResolver):
    """Resolves a host and refuses it unless every address is public.

    The connection goes to the very addresses that were checked, so a name that changes its
    answer in between (DNS rebinding) gains nothing.
    """

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses. Raises ForbiddenAddress, or OSError when it has none."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            refuse_private(result["host"])
        return results

    async def close(self) -> None:
        """Nothing to close."""


def refuse_private(address: str) -> None:
    """Raises ForbiddenAddress unless `address` is an IP address reachable on the public internet.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) counts as itself.
    """
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or _nat64(ip) or ip
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        raise ForbiddenAddress(f"{address} is not a public address")


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # RFC 6052: the well-known prefix 64:ff9b::/96.
    if int(ip) >> 32 == 0x0064FF9B << 64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
