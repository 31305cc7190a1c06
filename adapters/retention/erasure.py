"""Forgetting one person: every message of one tenant to an address, at once or when it has ended.

A request is kept until no message can be under way any more that was accepted before it. It is
kept without the address: by a short hash under which messages are found, and by a longer one that
tells whether it is they; both are keyed.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from adapters.retention.forgetter import Forgetter, forgetter
from adapters.retention.redaction import BATCH
from adapters.store import audit
from adapters.store.change import change
from adapters.store.database import Database
from adapters.store.recipients import Places, move, unkeyed_places
from adapters.suppression.hashing import Hasher
from adapters.suppression.store import SuppressionStore
from domain.message import MessageOrder
from domain.retention import LONGEST_LIFE
from domain.suppression import of_order

LOOK_AGAIN: Final = 60.0
"""Seconds after a request: for messages that were being accepted at that moment."""
LOOK_FOR_ENDS: Final = 3600.0
"""Seconds between two looks at messages that had not ended."""
AT_ONCE: Final = 2_000
"""Messages to one address that are erased while the client waits; the others follow soon."""

_ASK: Final = (
    "INSERT INTO erasures (tenant, subject, channel, address, asked_at, look_at, erased)"
    " VALUES (?, ?, ?, ?, ?, ?, 0)"
    " ON CONFLICT (tenant, subject) DO UPDATE SET"
    " address = excluded.address, asked_at = excluded.asked_at, look_at = excluded.look_at"
)
_FOUND: Final = (
    # By a message's first address, and by its others.
    "SELECT id, order_json, ended_at FROM messages"
    " WHERE recipient = ? AND id > ? AND tenant = ? AND created_at <= ? ORDER BY id LIMIT ?",
    "SELECT m.id, m.order_json, m.ended_at FROM message_recipients AS r"
    " JOIN messages AS m ON m.id = r.message"
    " WHERE r.address = ? AND r.message > ? AND m.tenant = ? AND m.created_at <= ?"
    " ORDER BY r.message LIMIT ?",
)
_DUE: Final = (
    "SELECT tenant, channel, address, subject, asked_at FROM erasures"
    " WHERE look_at <= ? ORDER BY look_at LIMIT ?"
)
_LOOK: Final = (
    "UPDATE erasures SET look_at = ?, erased = erased + ?"
    " WHERE tenant = ? AND subject = ? AND asked_at = ?"
)
_DONE: Final = "DELETE FROM erasures WHERE tenant = ? AND subject = ? AND asked_at = ?"
_order = msgspec.json.Decoder(MessageOrder).decode


class Subject(NamedTuple):
    """Whom a request is about: `place` is where the messages are found, `proof` the long hash."""

    tenant: str
    channel: str
    place: int
    proof: bytes


class Found(NamedTuple):
    """What became of the messages to one address: `erased` now; `under_way`, and erased when they
    have ended; `more` says that there are others, which follow within a minute or so."""

    erased: int = 0
    under_way: int = 0
    more: bool = False


class Erasures:
    """The requests in the database of the message log; `journal` is the bind pools'. `secret` keys
    the hashes that are kept; `clock` gives seconds since the epoch. Every method blocks: call them
    in a thread."""

    def __init__(
        self,
        where: Path | str,
        journal: Path | str | None,
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._where = where
        self._journal = journal
        self._secret = secret
        self._clock = clock
        self.places = Places(secret)

    def erase(self, tenant: str, to: Mapping[str, str], actor: str) -> dict[str, Found]:
        """Forget whoever has these addresses (by channel, in their normal form), and note that it
        was asked for. Gives what became of each; asking again finds what was left."""
        now = self._clock()
        subjects = [self.subject(tenant, channel, address) for channel, address in to.items()]
        with change(self._where) as database:
            for subject in subjects:
                row = (tenant, subject.proof, subject.channel, subject.place)
                database.execute(_ASK, (*row, now, now + LOOK_AGAIN))
                named = f"{subject.channel}:{subject.proof.hex()}"
                audit.note(database, actor, tenant, "recipient.erase", named)
        lists = SuppressionStore(self._where, Hasher(self._secret))
        for channel, address in to.items():
            lists.forget(tenant, channel, address)
        with forgetter(self._where, self._journal, self.places) as to_forget:
            for subject in subjects:
                for old in unkeyed_places(tenant, subject.channel, to[subject.channel]):
                    move(to_forget.messages, old, subject.place)
            return {
                subject.channel: self._carry_out(to_forget, subject, now, AT_ONCE)
                for subject in subjects
            }

    def follow_up(self, to_forget: Forgetter, *, most: int) -> int:
        """Look again at the requests that are due, some of them. Gives how many there were: 0 when
        there is nothing left to do for now."""
        due = to_forget.messages.execute(_DUE, (self._clock(), most)).fetchall()
        for tenant, channel, place, proof, asked_at in due:
            subject = Subject(tenant, channel, place, bytes(proof))
            self._carry_out(to_forget, subject, asked_at, AT_ONCE)
        return len(due)

    def subject(self, tenant: str, channel: str, address: str) -> Subject:
        """What stands for a person's address, however it is spelled."""
        place = self.places.of(tenant, channel, address)
        return Subject(
            tenant, channel, place, self._proof(tenant, channel, of_order(channel, address))
        )

    def _proof(self, tenant: str, channel: str, address: str) -> bytes:
        named = f"{tenant}\0{channel}\0{address}".encode()
        hashed = hashlib.blake2b(named, key=self._secret, digest_size=16, person=b"erasure")
        return hashed.digest()

    def _carry_out(
        self, to_forget: Forgetter, subject: Subject, asked_at: float, most: int
    ) -> Found:
        """Erase what has ended of the messages that were accepted until `asked_at`, up to about
        `most`, and note when to look again."""
        erased = under_way = 0
        more = False
        for ended, waiting in self._batches(to_forget.messages, subject, asked_at):
            under_way += waiting
            erased += to_forget.redact(ended)
            if erased >= most:
                more = True
                break
        found = Found(erased, under_way, more)
        self._note(to_forget.messages, subject, asked_at, found)
        return found

    def _batches(
        self, database: Database, subject: Subject, asked_at: float
    ) -> Iterator[tuple[list[str], int]]:
        """The person's messages: ids of those that have ended, and how many others."""
        for found in _FOUND:
            after = ""
            while True:
                rows = database.execute(
                    found, (subject.place, after, subject.tenant, asked_at, BATCH)
                ).fetchall()
                if not rows:
                    break
                after = rows[-1][0]
                theirs = [row for row in rows if self._is_about(subject, _order(row[1]))]
                ended = [row[0] for row in theirs if row[2] is not None]
                yield ended, len(theirs) - len(ended)

    def _is_about(self, subject: Subject, order: MessageOrder) -> bool:
        """Whether it is not only the short hash that fits."""
        address = order.to.get(subject.channel)
        if not address:
            return True  # redacted before: what is left of it goes
        # As it is spelled, too: so stood requests that were made before capitals were let go.
        return any(
            hmac.compare_digest(
                self._proof(subject.tenant, subject.channel, spelled), subject.proof
            )
            for spelled in (of_order(subject.channel, address), address)
        )

    def _note(self, database: Database, subject: Subject, asked_at: float, found: Found) -> None:
        """When to look again: soon while something is left, and once more when the last message
        of that time must have ended, which is the last look."""
        now = self._clock()
        last = asked_at + LONGEST_LIFE.total_seconds()
        if now >= last:
            database.execute(_DONE, (subject.tenant, subject.proof, asked_at))
            return
        again = last
        if found.more:
            again = now
        elif now < asked_at + LOOK_AGAIN:
            again = asked_at + LOOK_AGAIN
        elif found.under_way:
            again = min(now + LOOK_FOR_ENDS, last)
        database.execute(_LOOK, (again, found.erased, subject.tenant, subject.proof, asked_at))
