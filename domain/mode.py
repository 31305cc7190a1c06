"""Whether messages are meant for people or only to be tried out."""

from __future__ import annotations

from enum import Enum


class Mode(str, Enum):
    """What becomes of the messages of an API key."""

    LIVE = "live"
    TEST = "test"  # the same way, but to the sandbox only
