"""Where the messages to one person are found: by a short hash of tenant, channel and address.

The hash is a whole number of 64 bits, so that an index over it stays small; two addresses may
share one, and whoever looks something up compares the addresses themselves. It is keyed: a request
to forget somebody keeps it for longer than the messages have the address, and numbers are so few
that whoever has the database could try them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from adapters.store.database import Database
from adapters.suppression.hashing import Hasher, stored
from domain.message import MessageOrder
from domain.suppression import of_order

_MOVED_AT_ONCE = 1000
_MOVE = (
    "UPDATE messages SET recipient = ? WHERE id IN"
    " (SELECT id FROM messages WHERE recipient = ? ORDER BY id LIMIT ?)"
)
_COPY_OTHERS = (
    "INSERT INTO message_recipients (address, message) SELECT CAST(? AS INTEGER), message"
    " FROM message_recipients WHERE address = ? ON CONFLICT DO NOTHING"
)
_FORGET_OTHERS = "DELETE FROM message_recipients WHERE address = ?"


class Places:
    """Makes the numbers under which messages are found; `secret`, of 32 octets, is the one of
    `hashing.key`."""

    def __init__(self, secret: bytes) -> None:
        self._hasher = Hasher(secret, b"recipient")

    def of(self, tenant: str, channel: str, address: str) -> int:
        """The number for an address as a message has it. Capitals of an e-mail address make no
        difference: whoever asks to be forgotten need not know which somebody typed."""
        return stored(self._hasher.key(tenant, channel, of_order(channel, address)))

    def of_message(self, order: MessageOrder) -> Iterator[int]:
        """The numbers for every address of a message, of which it has one at least."""
        for channel, address in order.to.items():
            yield self.of(order.tenant, channel, address)


def unkeyed_places(tenant: str, channel: str, address: str) -> set[int]:
    """The numbers that messages may have which were accepted before the hash was keyed: of the
    address as it is spelled here, and in small letters."""
    return {_unkeyed(tenant, channel, spelled) for spelled in (address, of_order(channel, address))}


def move(database: Database, old: int, new: int) -> None:
    """Let messages that are found under one number be found under another, some at a time."""
    moved = _MOVED_AT_ONCE
    while moved == _MOVED_AT_ONCE:
        moved = database.execute(_MOVE, (new, old, _MOVED_AT_ONCE)).rowcount
    with database.transaction():
        database.execute(_COPY_OTHERS, (new, old))
        database.execute(_FORGET_OTHERS, (old,))


def _unkeyed(tenant: str, channel: str, address: str) -> int:
    named = f"{tenant}\0{channel}\0{address}".encode()
    digest = hashlib.blake2b(named, digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "big", signed=True)
