"""The senders that tenants asked for: kept as rows, read by the hot path as one snapshot."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from adapters.store import audit
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.tenants import UnknownTenant
from adapters.store.tiers import look_at
from domain.compliance.senders import Sender, Senders, SenderStatus, fold

SECTION: Final = "senders"
_COLUMNS: Final = "tenant, sender, status, countries_json, reserved, note, changed_at"
_PUT: Final = """
    INSERT INTO senders
        (tenant, folded, sender, status, countries_json, reserved, note, changed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (tenant, folded) DO UPDATE SET
        sender = excluded.sender, status = excluded.status,
        countries_json = excluded.countries_json, reserved = excluded.reserved,
        note = excluded.note, changed_at = excluded.changed_at
"""
_FIND: Final = f"SELECT {_COLUMNS} FROM senders WHERE tenant = ? AND folded = ?"
_encode = msgspec.json.Encoder().encode
_decode_countries = msgspec.json.Decoder(tuple[str, ...]).decode


class StoredSender(NamedTuple):
    """A sender, and when it was changed last."""

    sender: Sender
    changed_at: datetime


def load(database: Database) -> Senders:
    """All tenants' senders, for the section of this name."""
    rows = database.execute(f"SELECT {_COLUMNS} FROM senders")
    return Senders(_stored(row).sender for row in rows)


def page(
    where: Path | str, tenant: str | None, *, limit: int, after: tuple[str, str] | None
) -> list[StoredSender]:
    """Senders by tenant and name, of one tenant or of all, behind a `position`."""
    conditions: list[str] = []
    values: list[object] = []
    if tenant is not None:
        conditions.append("tenant = ?")
        values.append(tenant)
    if after is not None:
        conditions.append("(tenant, folded) > (?, ?)")
        values += after
    sql = (
        f"SELECT {_COLUMNS} FROM senders"
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + " ORDER BY tenant, folded LIMIT ?"
    )
    with looking(where) as database:
        return [_stored(row) for row in database.execute(sql, [*values, limit])]


def position(sender: Sender) -> str:
    """Where a sender stands in the list of all."""
    return f"{sender.tenant}/{fold(sender.sender)}"


def get(where: Path | str, tenant: str, sender: str) -> StoredSender | None:
    """A tenant's sender, however it is written."""
    with looking(where) as database:
        return _get(database, tenant, sender)


def put(where: Path | str, sender: Sender, *, actor: str) -> StoredSender:
    """Add a sender, or change the one of this name. Raises UnknownTenant, and TierRequired for a
    reserved one of a tenant whose tier does not cover it."""
    with change(where, SECTION) as database:
        known = database.execute("SELECT 1 FROM tenants WHERE id = ?", (sender.tenant,))
        if known.fetchone() is None:
            raise UnknownTenant(sender.tenant)
        if sender.reserved:
            look_at(database, [sender.tenant], "Reserved senders")
        before = _get(database, sender.tenant, sender.sender)
        now = time.time()
        row = (
            sender.tenant,
            fold(sender.sender),
            sender.sender,
            sender.status.value,
            _encode(sender.countries).decode(),
            int(sender.reserved),
            sender.note,
            now,
        )
        database.execute(_PUT, row)
        changed = audit.difference({} if before is None else _facts(before.sender), _facts(sender))
        audit.note(database, actor, sender.tenant, "sender.put", sender.sender, changed)
    return StoredSender(sender, datetime.fromtimestamp(now, UTC))


def remove(where: Path | str, tenant: str, sender: str, *, actor: str) -> bool:
    """Forget a sender; False when there is none."""
    with change(where, SECTION) as database:
        before = _get(database, tenant, sender)
        if before is None:
            return False
        database.execute(
            "DELETE FROM senders WHERE tenant = ? AND folded = ?", (tenant, fold(sender))
        )
        audit.note(
            database,
            actor,
            tenant,
            "sender.remove",
            before.sender.sender,
            audit.difference(_facts(before.sender), {}),
        )
    return True


def _get(database: Database, tenant: str, sender: str) -> StoredSender | None:
    row = database.execute(_FIND, (tenant, fold(sender))).fetchone()
    return None if row is None else _stored(row)


def _stored(row: Any) -> StoredSender:
    tenant, sender, status, countries, reserved, note, changed_at = row
    return StoredSender(
        Sender(
            tenant, sender, SenderStatus(status), _decode_countries(countries), bool(reserved), note
        ),
        datetime.fromtimestamp(changed_at, UTC),
    )


def _facts(sender: Sender) -> dict[str, Any]:
    return {
        "status": sender.status.value,
        "countries": list(sender.countries),
        "reserved": sender.reserved,
        "note": sender.note,
    }
