"""Tenants and what is set for them.

Every change is seen by every process within a second, and is in the audit log.
"""

from __future__ import annotations

import base64
import logging
import re
import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store.audit import difference, note
from adapters.store.change import change, looking
from adapters.store.database import Database, connect
from adapters.store.tenant_settings import merged, read, stored
from adapters.store.tiers import look_at_settings, look_at_things
from domain.tenancy import TENANT_ID, Tenant

SECTION: Final = "tenants"
"""What every process has of them in memory."""

_INSERT: Final = (
    "INSERT INTO tenants (id, webhook_secret, created_at, settings_json) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTenant:
    """A tenant as an operator sees it. `changed` are the settings that are not the defaults."""

    tenant: Tenant
    created_at: datetime
    changed: dict[str, Any]


class UnknownTenant(Exception):
    """No tenant has this id."""


class TenantExists(Exception):
    """There is a tenant of this id already."""


class TenantIdInvalid(ValueError):
    """A tenant's id has 1 to 63 of a-z, 0-9, `-` and `_`, and begins with a letter or digit."""


def create_tenant(where: Path | str, tenant: str, *, actor: str = "operator") -> None:
    """Add a tenant with the defaults; one that is there already is left alone. Raises
    TenantIdInvalid."""
    try:
        add_tenant(where, tenant, {}, actor=actor)
    except TenantExists:
        return


def add_tenant(
    where: Path | str, tenant: str, settings: Mapping[str, Any], *, actor: str = "operator"
) -> StoredTenant:
    """Add a tenant with these settings. Raises TenantIdInvalid, TenantExists and, for settings
    that are wrong or that the tier does not cover, SettingsInvalid, TierRequired, TierInUse."""
    if re.match(TENANT_ID, tenant) is None or tenant.endswith("\n"):
        raise TenantIdInvalid(TenantIdInvalid.__doc__)
    made = merged(Tenant(tenant), settings)
    look_at_settings(Tenant(tenant), made)
    with change(where, SECTION) as database:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        row = (tenant, secret, datetime.now(UTC).isoformat(), stored(made))
        if database.execute(_INSERT, row).rowcount == 0:
            raise TenantExists(tenant)
        look_at_things(database, made)
        detail = difference(Tenant(tenant), made)
        note(database, actor, tenant, "tenant.create", tenant, {"after": detail["after"]})
        return _get(database, tenant)


def change_tenant(
    where: Path | str, tenant: str, patch: Mapping[str, Any], *, actor: str = "operator"
) -> StoredTenant:
    """Change settings by a JSON merge patch (RFC 7386); null is back to the default. Raises
    UnknownTenant, SettingsInvalid, TierRequired for settings that the tier does not cover, and
    TierInUse for a lower tier than something of the tenant's needs."""
    with change(where, SECTION) as database:
        before = _get(database, tenant).tenant
        after = merged(before, patch)
        look_at_settings(before, after)
        if not after.tier.covers(before.tier):
            look_at_things(database, after)
        if after != before:
            database.execute(
                "UPDATE tenants SET settings_json = ? WHERE id = ?", (stored(after), tenant)
            )
            note(database, actor, tenant, "tenant.change", tenant, difference(before, after))
        return _get(database, tenant)


def get_tenant(where: Path | str, tenant: str) -> StoredTenant:
    """One tenant. Raises UnknownTenant."""
    with looking(where) as database:
        return _get(database, tenant)


def list_tenants(
    where: Path | str, *, limit: int | None = None, after: str = ""
) -> list[StoredTenant]:
    """Tenants by their ids, those behind `after`."""
    sql = "SELECT id, created_at, settings_json FROM tenants WHERE id > ? ORDER BY id"
    values: list[Any] = [after]
    if limit is not None:
        sql += " LIMIT ?"
        values.append(limit)
    with looking(where) as database:
        return [_from_row(row) for row in database.execute(sql, values).fetchall()]


def load_tenants(database: Database) -> dict[str, Tenant]:
    """All tenants by their ids, for the memory of a process.

    One whose settings cannot be read sends nothing until they can: that is no reason to lose
    sight of the others.
    """
    found: dict[str, Tenant] = {}
    rows = database.execute("SELECT id, settings_json FROM tenants").fetchall()
    for id_, settings in rows:
        try:
            found[id_] = read(id_, settings)
        except msgspec.DecodeError as error:
            _logger.error("the settings of tenant %s cannot be read: %s", id_, error)
            found[id_] = Tenant(id_, suspended=True)
    return found


def webhook_secret(where: Path | str, tenant: str) -> str:
    """The secret that signs a tenant's status callbacks. Raises UnknownTenant."""
    with closing(connect(where)) as database:
        row = database.execute(
            "SELECT webhook_secret FROM tenants WHERE id = ?", (tenant,)
        ).fetchone()
    if row is None:
        raise UnknownTenant(tenant)
    return str(row[0])


def _get(database: Database, tenant: str) -> StoredTenant:
    row = database.execute(
        "SELECT id, created_at, settings_json FROM tenants WHERE id = ?", (tenant,)
    ).fetchone()
    if row is None:
        raise UnknownTenant(tenant)
    return _from_row(row)


def _from_row(row: Any) -> StoredTenant:
    id_, created_at, settings = row
    return StoredTenant(
        read(id_, settings), datetime.fromisoformat(created_at), msgspec.json.decode(settings)
    )
