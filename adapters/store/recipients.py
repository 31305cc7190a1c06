"""Where the messages to one person are found: by a short hash of tenant, channel and address.

The hash is a whole number of 64 bits, so that an index over it stays small; two addresses may
share one, and whoever looks something up compares the addresses themselves. It is kept as long as
the address itself is: it hides nothing, it only makes it findable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from domain.message import MessageOrder


def place_of(tenant: str, channel: str, address: str) -> int:
    """The number under which a message to this address (in its normal form) is found."""
    named = f"{tenant}\0{channel}\0{address}".encode()
    digest = hashlib.blake2b(named, digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "big", signed=True)


def places_of(order: MessageOrder) -> Iterator[int]:
    """The numbers for every address of a message, of which it has one at least."""
    for channel, address in order.to.items():
        yield place_of(order.tenant, channel, address)
