"""Whether a durable handler repeats what its journal has, or goes on from there."""

from __future__ import annotations

from restate.server_context import restate_context_is_replaying


def replaying() -> bool:
    """True while the handler that is running here still finds its steps in its journal. It may say
    so a moment too long, never too short a time."""
    return restate_context_is_replaying.get()
