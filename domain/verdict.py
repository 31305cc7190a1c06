"""What a layer of the pipeline found about a message."""

from __future__ import annotations

from enum import Enum

import msgspec


class Outcome(str, Enum):
    """How a layer let a message through, or did not."""

    PASS = "pass"  # noqa: S105
    CHANGE = "change"
    DEFER = "defer"
    REFUSE = "refuse"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One layer's finding. `code` names the rule that applied, `detail` says it to a person.

    Nine of them travel with every message: what says nothing is left out.
    """

    layer: str
    outcome: Outcome = Outcome.PASS
    code: str | None = None
    detail: str | None = None
