"""A webhook's request as it came in, and what a signature scheme says of it."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

REPLAY_WINDOW: Final = 300
"""Seconds that a signed timestamp may lie from now, to either side."""


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """What the provider sent. `url` is the public one, as the provider called it: with the query,
    and not as a proxy passed it on. `body` is raw. `query` is decoded."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    query: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """The value of the header, whose name is given in lower case; None when it is not there.

        Raises Ambiguous when it is there twice: two readers could take different ones.
        """
        found = [value for key, value in self.headers if key.lower() == name]
        if len(found) > 1:
            raise Ambiguous(name)
        return found[0].strip(" \t") if found else None


class Ambiguous(Exception):
    """A header that may be there only once is there twice."""


class Reason(str, Enum):
    """Why a request was refused; a closed set, for logs and metrics. The caller is told none."""

    UNCONFIGURED = "unconfigured"
    """The tenant has not configured the key, or what is configured is none."""
    METHOD = "method"
    """The scheme knows no request with this method."""
    MISSING = "missing"
    """There is no signature."""
    MALFORMED = "malformed"
    """The signature, its timestamp or what it covers cannot be read."""
    UNSUPPORTED = "unsupported"
    """The signature is of a kind that is not known."""
    STALE = "stale"
    """The signed timestamp is more than REPLAY_WINDOW away."""
    MISMATCH = "mismatch"
    """The signature is another one's, or the request is not what was signed."""


class Accepted(NamedTuple):
    """The provider sent this."""


class Refused(NamedTuple):
    """Nothing says that the provider sent this: answer 403 and forget it."""

    reason: Reason


class Challenge(NamedTuple):
    """The provider asks whether this is the right place: answer 200 and `text` as text/plain."""

    text: str


Verdict = Accepted | Refused | Challenge

ACCEPTED: Final = Accepted()


def same(expected: str, given: str) -> bool:
    """Whether two texts are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def from_base64(text: str) -> bytes | None:
    """What strict base64 stands for, or None."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None


def fresh(timestamp: str, now: float) -> Reason | None:
    """What is wrong with a timestamp in whole seconds since 1970; None when nothing is."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return Reason.MALFORMED
    return None if abs(now - int(timestamp)) <= REPLAY_WINDOW else Reason.STALE
