"""The channels that a message can take. A new one is a file here and a line in `CHANNELS`."""

from __future__ import annotations

from typing import Final

from domain.channels import email, push, sms, whatsapp
from domain.channels.rules import (
    AddressProblem,
    ChannelProblem,
    ChannelRules,
    ContentProblem,
    SenderProblem,
)

CHANNELS: Final[dict[str, ChannelRules]] = {
    rules.name: rules for rules in (sms.RULES, whatsapp.RULES, push.RULES, email.RULES)
}
"""By name, in the order in which a default plan tries them: the quickest to be noticed first."""

__all__ = [
    "CHANNELS",
    "AddressProblem",
    "ChannelProblem",
    "ChannelRules",
    "ContentProblem",
    "SenderProblem",
]
