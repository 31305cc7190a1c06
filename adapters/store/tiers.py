"""What tenants have that needs a tier: none gets it without, nor a lower tier while it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from adapters.store.database import Database
from domain.tenancy import Tenant, Tier

NAMED: Final = 20
"""Things that a refusal names."""

# Until the transaction ends, so that a tier is not lowered while something that needs it is made.
_HOLD: Final = "UPDATE tenants SET id = id WHERE id = ?"
_SENDERS: Final = (
    "SELECT sender FROM senders WHERE tenant = ? AND reserved <> 0 ORDER BY folded LIMIT ?"
)
_ADAPTERS: Final = (
    "SELECT DISTINCT adapter FROM adapter_versions WHERE tenant = ? AND removed_at IS NULL"
    " ORDER BY adapter LIMIT ?"
)
_ROUTES: Final = "SELECT name, route_json FROM routes ORDER BY name"


class TierRequired(Exception):
    """A tenant of a lower tier may not have this; the text names the tenant and the tier."""

    def __init__(self, tenant: str, needed: Tier, what: str) -> None:
        super().__init__(f"{what} of its own need the tier `{needed.value}`; {tenant} has less.")


class TierInUse(Exception):
    """The tenant has things that the tier does not cover; `things` names up to NAMED of them."""

    def __init__(self, things: Sequence[str]) -> None:
        super().__init__(", ".join(things))
        self.things = tuple(things)


def look_at_settings(before: Tenant, after: Tenant) -> None:
    """Raises TierRequired for new settings that the tier does not cover."""
    if after.routing != before.routing and not after.tier.covers(after.needs):
        raise TierRequired(after.id, after.needs, "Routing rules")


def look_at_things(database: Database, after: Tenant) -> None:
    """Raises TierInUse when the tenant has something that its new tier does not cover."""
    database.execute(_HOLD, (after.id,))
    things: list[str] = []
    if not after.tier.covers(after.needs):
        things.append("its routing rules (routing)")
    if not after.tier.covers(Tier.DEDICATED):
        senders = database.execute(_SENDERS, (after.id, NAMED)).fetchall()
        things += [f"the sender {sender}" for (sender,) in senders]
        things += [f"the route {route}" for route in _routes_of(database, after.id)]
    if not after.tier.covers(Tier.CUSTOM):
        adapters = database.execute(_ADAPTERS, (after.id, NAMED)).fetchall()
        things += [f"the adapter {adapter}" for (adapter,) in adapters]
    if things:
        raise TierInUse(things[:NAMED])


def look_at(database: Database, tenants: Sequence[str], what: str) -> None:
    """Raises TierRequired when one of these tenants may have no senders and routes of its own.
    One that is not there may: it is looked at when it is added."""
    for tenant in sorted(tenants):
        database.execute(_HOLD, (tenant,))
        row = database.execute(
            "SELECT settings_json FROM tenants WHERE id = ?", (tenant,)
        ).fetchone()
        if row is None:
            continue
        tier = Tier(json.loads(row[0]).get("tier", Tier.SHARED.value))
        if not tier.covers(Tier.DEDICATED):
            raise TierRequired(tenant, Tier.DEDICATED, what)


def _routes_of(database: Database, tenant: str) -> Iterator[str]:
    for name, route in database.execute(_ROUTES).fetchall():
        if tenant in json.loads(route).get("tenants", ()):
            yield name
