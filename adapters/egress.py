"""Outbound HTTP to hosts that users name: which addresses may be called."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            # RFC 6890: for protocols alone. Older Pythons take most of it for public, and Oracle's
            # clouds tell a machine its credentials at 192.0.0.192.
            "192.0.0.0/24",
            "fec0::/10",  # RFC 3879: private once, and still routed where it was set up
            "3fff::/20",  # RFC 9637: for documents
        ),
    )
)
"""Of what Python takes for global."""


class ForbiddenAddress(OSError):
    """The host's address is not a public one."""


def refuse_private(address: str) -> None:
    """Raises ForbiddenAddress unless `address` is an IP address reachable on the public internet.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) counts as itself.
    """
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or _nat64(ip) or ip
    public = ip.is_global and not any(ip in network for network in _NOT_PUBLIC)
    if not public or ip.is_multicast or ip.is_reserved:
        # Without the address: a tenant who sees this is not to learn what our names stand for.
        raise ForbiddenAddress("the host has an address that is not public")


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # RFC 6052: the well-known prefix 64:ff9b::/96.
    if int(ip) >> 32 == 0x0064FF9B << 64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
