"""Layer 1: whose message it is, and by which key.

The Door has found that out before anything was read (`handlers/api/door.py`), and the route that
the key may send. What is left is to say so in the timeline.
"""

from __future__ import annotations

from domain.verdict import Verdict
from handlers.pipeline.draft import Draft


class Auth:
    """Names the key."""

    name = "auth"

    def check(self, draft: Draft) -> Verdict:
        """It passes: what does not comes no further than the Door."""
        return Verdict(self.name, detail=f"key {draft.principal.key_id}")
