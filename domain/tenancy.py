"""Who uses Hermes: tenants, what their API keys may do, and what is set for them."""

from __future__ import annotations

from enum import Enum

import msgspec


class Tier(str, Enum):
    """How much of Hermes is a tenant's own."""

    SHARED = "shared"  # senders, routes and adapters that everybody uses
    DEDICATED = "dedicated"  # senders and routes of its own
    CUSTOM = "custom"  # adapters of its own as well


class Mode(str, Enum):
    """What becomes of the messages of an API key."""

    LIVE = "live"
    TEST = "test"  # the same way, but to simulators only


class Scope(str, Enum):
    """What an API key may do."""

    SEND = "messages:send"
    READ = "messages:read"
    TEMPLATES = "templates:write"
    SUPPRESSIONS = "suppressions:write"
    CALLBACKS = "callbacks:write"
    ADAPTERS = "adapters:write"
    USAGE = "usage:read"
    RECIPIENTS = "recipients:erase"


class Tenant(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A business that sends, and its settings."""

    id: str
    tier: Tier = Tier.SHARED
    suspended: bool = False
