"""What a layer of the pipeline found about a message."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class Outcome(str, Enum):
    """How a layer let a message through, or did not."""

    PASS = "pass"  # noqa: S105
    CHANGE = "change"
    DEFER = "defer"
    REFUSE = "refuse"


CODES: Final[dict[str, str]] = {
    "template_rendered": (
        "The text was made from a template: `detail` names it, with its version and language."
    ),
    "plain_characters": (
        "Typographic characters became plain ones, which saves the SMS from UCS-2 and so from more "
        "segments."
    ),
    "quiet_hours": (
        "The message would have come in the recipient's quiet hours and was put off: `detail` says "
        "until when, and by which clock."
    ),
    "time_zone_unknown": (
        "Nothing tells where the recipient's clock stands, so no quiet hours were looked at."
    ),
}
"""The codes that only verdicts have; others are those of what was flagged instead of refused."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One layer's finding. `code` names the rule that applied, `detail` says it to a person.

    Nine of them travel with every message: what says nothing is left out.
    """

    layer: str
    outcome: Outcome = Outcome.PASS
    code: str | None = None
    detail: str | None = None
