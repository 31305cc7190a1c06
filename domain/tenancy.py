"""Who uses Hermes: tenants, what their API keys may do, and what is set for them."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from domain.compliance.rules import ComplianceRules
from domain.content_rules import ContentRules
from domain.enrichment import Defaults
from domain.limits import NO_LIMITS, RateLimits
from domain.mode import Mode
from domain.optout import OptOutRules
from domain.retention import Retention
from domain.routing.rules import NO_RULES, RoutingRules

__all__ = ["EVERYTHING", "TENANT_ID", "Mode", "Scope", "Tenant", "Tier"]

TENANT_ID: Final = "^[a-z0-9][a-z0-9_-]{0,62}$"
"""A tenant's id: it stands in paths, metrics and logs."""


class Tier(str, Enum):
    """How much of Hermes is a tenant's own."""

    SHARED = "shared"  # senders, routes and adapters that everybody uses
    DEDICATED = "dedicated"  # senders and routes of its own
    CUSTOM = "custom"  # adapters of its own as well

    def covers(self, needed: Tier) -> bool:
        """Whether what needs the other tier may be had in this one."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS: Final = {tier: rank for rank, tier in enumerate(Tier)}


class Scope(str, Enum):
    """What an API key may do. Each route of the API asks for one of them."""

    SEND = "messages:send"
    READ = "read"
    TEMPLATES = "templates:write"
    SUPPRESSIONS = "suppressions:write"
    CALLBACKS = "callbacks:write"
    ADAPTERS = "adapters:write"
    USAGE = "usage:read"
    RECIPIENTS = "recipients:erase"

    @property
    def meaning(self) -> str:
        """What it allows, for people."""
        return _MEANINGS[self]


EVERYTHING: Final = frozenset(Scope)
"""What a key may do that was made without scopes."""

OF_TEST_KEYS: Final = frozenset({Scope.SEND, Scope.READ})
"""What a test key may do at most: what is set up is the live messages', too."""

_MEANINGS: Final[dict[Scope, str]] = {
    Scope.SEND: "send messages, and withdraw them",
    Scope.READ: "look at messages and at whatever is set up",
    Scope.TEMPLATES: "make and change templates",
    Scope.SUPPRESSIONS: "add to the suppression list and take from it",
    Scope.CALLBACKS: "set up status callbacks, and have them sent again",
    Scope.ADAPTERS: "upload, configure and switch adapters",
    Scope.USAGE: "see what was sent and what it cost",
    Scope.RECIPIENTS: "find and erase what is kept about a person",
}


class Tenant(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A business that sends, and its settings. A suspended one sends nothing; it can still look at
    what it sent, withdraw it, and erase."""

    id: str
    tier: Tier = Tier.SHARED
    suspended: bool = False
    limits: RateLimits = NO_LIMITS
    opt_out: OptOutRules = OptOutRules()
    content: ContentRules = ContentRules()
    compliance: ComplianceRules = ComplianceRules()
    defaults: Defaults = Defaults()
    retention: Retention = Retention()
    routing: RoutingRules = NO_RULES

    @property
    def needs(self) -> Tier:
        """The lowest tier that covers the settings."""
        return Tier.SHARED if self.routing == NO_RULES else Tier.DEDICATED
