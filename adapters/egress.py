"""Outbound HTTP to hosts that users name: which addresses may be called."""

from __future__ import annotations

import ipaddress
from typing import Any


class ForbiddenAddress(OSError):
    """The host's address is not a public one."""


def refuse_private(address: str) -> None:
    """Raises ForbiddenAddress unless `address` is an IP address reachable on the public internet.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) counts as itself.
    """
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or _nat64(ip) or ip
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        # Without the address: a tenant who sees this is not to learn what our names stand for.
        raise ForbiddenAddress("the host has an address that is not public")


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # RFC 6052: the well-known prefix 64:ff9b::/96.
    if int(ip) >> 32 == 0x0064FF9B << 64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
