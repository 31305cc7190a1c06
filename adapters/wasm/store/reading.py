"""Rows to values: the queries that the registry and the management share."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from adapters.store.database import Database
from adapters.wasm.installed import Health
from adapters.wasm.store.records import (
    BUILT_IN,
    Adapter,
    Setting,
    Version,
    decode_health,
    moment,
    read_manifest_row,
)

ADAPTER: Final = "tenant, adapter, active, previous, priority, revision, health_json, removed_at"
_VERSION: Final = "tenant, version, component, manifest_json, size, published_at, removed_at"

logger = logging.getLogger(__name__)


def change_number(database: Database) -> int:
    """How many changes there have been, by any process."""
    number: int = database.execute("SELECT number FROM adapter_changes WHERE id = 1").fetchone()[0]
    return number


def adapter(
    database: Database, row: Any, *, removed: bool = False, only: Iterable[str | None] | None = None
) -> Adapter:
    """The adapter of a row (ADAPTER's columns) with its versions, or with those `only`.

    Versions that were removed are there only when asked for, or in use: one that came with an
    earlier Hermes stays with whoever uses it.
    """
    tenant, name, active, previous, priority, revision, health, _ = row
    found = [
        version
        for version in versions(database, tenant, name, only)
        if removed or version.removed_at is None or version.digest in (active, previous)
    ]
    return Adapter(
        tenant=tenant,
        name=name,
        versions=tuple(found),
        active=active,
        previous=previous,
        priority=priority,
        revision=revision,
        settings=settings(database, tenant, name),
        health=_health(tenant, name, health),
    )


def _health(tenant: str, name: str, stored: bytes | None) -> Health | None:
    try:
        return None if stored is None else decode_health(stored)
    except msgspec.DecodeError as error:
        # The next check writes it anew.
        logger.warning("the health of %s/%s cannot be read: %s", tenant, name, error)
        return None


def versions(
    database: Database, tenant: str, name: str, only: Iterable[str | None] | None = None
) -> list[Version]:
    """A tenant's versions of an adapter and those that come with Hermes, newest first."""
    sql = f"SELECT {_VERSION} FROM adapter_versions WHERE tenant IN (?, ?) AND adapter = ?"
    values: list[object] = [tenant, BUILT_IN, name]
    if only is not None:
        wanted = [digest for digest in only if digest is not None]
        if not wanted:
            return []
        sql += f" AND version IN ({', '.join('?' * len(wanted))})"
        values += wanted
    rows = database.execute(sql + " ORDER BY published_at DESC, version", values)
    found: dict[str, Version] = {}
    for row in rows:
        try:
            version = _version(row)
        except msgspec.DecodeError as error:
            # It was taken by another Hermes, whose limits were others: no reason to lose the rest.
            logger.warning("version %s of adapter %s is not used: %s", row[1], name, error)
            continue
        # A tenant may have uploaded the very bundle that comes with Hermes: theirs goes first.
        if version.digest not in found or not version.built_in:
            found[version.digest] = version
    return list(found.values())


def settings(database: Database, tenant: str, name: str) -> dict[str, Setting]:
    """An adapter's configuration."""
    rows = database.execute(
        "SELECT key, value_json, sealed FROM adapter_configuration"
        " WHERE tenant = ? AND adapter = ? ORDER BY key",
        (tenant, name),
    )
    return {
        key: Setting(None if value is None else msgspec.json.decode(value), sealed)
        for key, value, sealed in rows
    }


def _version(row: Any) -> Version:
    tenant, digest, component, manifest, size, published_at, removed_at = row
    return Version(
        digest=digest,
        component=component,
        manifest=read_manifest_row(manifest),
        size=size,
        published_at=datetime.fromtimestamp(published_at, UTC),
        built_in=tenant == BUILT_IN,
        removed_at=moment(removed_at),
    )
