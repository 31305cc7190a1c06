"""API keys: `hk_<id>_<secret>`, or `hk_test_<id>_<secret>` for simulators only.

Only the SHA-256 of the secret is stored: it has 256 random bits, so a slow hash would protect
nothing. Every change is seen by every process within a second, and is in the audit log.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store.audit import difference, note
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.tenants import UnknownTenant
from domain.tenancy import EVERYTHING, Mode, Scope

SECTION: Final = "keys"
"""What every process has of them in memory."""
PREFIX: Final = "hk_"
TEST_PREFIX: Final = "hk_test_"
LONGEST_NOTE: Final = 200

_COLUMNS: Final = (
    "id, tenant, note, mode, scopes_json, created_at, expires_at, last_used_at, revoked_at,"
    " replaced_by"
)
_INSERT: Final = (
    "INSERT INTO api_keys"
    " (id, tenant, secret_sha256, note, mode, scopes_json, created_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it may be shown: never its secret.

    `last_used_at` is exact to a minute or two. `replaced_by` is the id of the key that came in its
    place; this one is good until it expires.
    """

    id: str
    tenant: str
    note: str
    mode: Mode
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None = None


class UnknownKey(Exception):
    """No API key has this id."""


class KeyEnded(Exception):
    """The key is revoked or has expired: it cannot be changed or replaced."""


def create_key(
    where: Path | str,
    tenant: str,
    note_: str = "",
    *,
    mode: Mode = Mode.LIVE,
    scopes: frozenset[Scope] = EVERYTHING,
    expires_at: datetime | None = None,
    actor: str = "operator",
) -> str:
    """Make an API key and return it, this once. Raises UnknownTenant."""
    with change(where, SECTION) as database:
        if database.execute("SELECT 1 FROM tenants WHERE id = ?", (tenant,)).fetchone() is None:
            raise UnknownTenant(tenant)
        key_id, key = _insert(database, tenant, note_, mode, scopes, expires_at)
        detail = _audited(note_, scopes, expires_at)
        note(database, actor, tenant, "key.create", key_id, {"mode": mode.value, **detail})
    return key


def list_keys(
    where: Path | str,
    tenant: str | None = None,
    *,
    limit: int | None = None,
    after: tuple[str, str] | None = None,
) -> list[ApiKey]:
    """The keys of one tenant, or of all, oldest first; `after` the (created_at as stored, id) of
    the page before."""
    conditions: list[str] = []
    values: list[Any] = []
    if tenant is not None:
        conditions.append("tenant = ?")
        values.append(tenant)
    if after is not None:
        conditions.append("(created_at, id) > (?, ?)")
        values += after
    sql = f"SELECT {_COLUMNS} FROM api_keys"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    sql += " ORDER BY created_at, id"
    if limit is not None:
        sql += " LIMIT ?"
        values.append(limit)
    with looking(where) as database:
        return [_from_row(row) for row in database.execute(sql, values).fetchall()]


def get_key(where: Path | str, key_id: str) -> ApiKey:
    """One key. Raises UnknownKey."""
    with looking(where) as database:
        return _get(database, key_id)


def change_key(
    where: Path | str,
    key_id: str,
    *,
    note_: str | None = None,
    scopes: frozenset[Scope] | None = None,
    expires_at: datetime | None = None,
    actor: str = "operator",
) -> ApiKey:
    """Change what is given. Raises UnknownKey and KeyEnded."""
    with change(where, SECTION) as database:
        before = _good(_get(database, key_id))
        after = _audited(
            before.note if note_ is None else note_,
            before.scopes if scopes is None else scopes,
            before.expires_at if expires_at is None else expires_at,
        )
        database.execute(
            "UPDATE api_keys SET note = ?, scopes_json = ?, expires_at = ? WHERE id = ?",
            (
                before.note if note_ is None else note_,
                _scopes_json(before.scopes if scopes is None else scopes),
                _seconds(before.expires_at if expires_at is None else expires_at),
                key_id,
            ),
        )
        detail = difference(_audited(before.note, before.scopes, before.expires_at), after)
        note(database, actor, before.tenant, "key.change", key_id, detail)
        return _get(database, key_id)


def rotate_key(
    where: Path | str, key_id: str, grace: timedelta, *, actor: str = "operator"
) -> tuple[str, ApiKey]:
    """Make a key in another's place, and return it, this once, with the old one, which is good
    for `grace` more at most. If the old one had an end, the new one lives as long from now.

    It may be repeated, as whoever missed the answer does: the newest key then has the end that the
    one before it has, and the one that came in the same place is revoked unless it was used.

    Raises UnknownKey and KeyEnded.
    """
    with change(where, SECTION) as database:
        old = _good(_get(database, key_id))
        now = _now()
        before = _last_in_place_of(database, old)
        expires_at = before.expires_at
        if expires_at is not None and (before is old or expires_at <= now):
            expires_at = now + (expires_at - before.created_at)
        new_id, key = _insert(database, old.tenant, old.note, old.mode, old.scopes, expires_at)
        if old.replaced_by is not None:
            _revoke_unused(database, old.replaced_by, now, actor)
        until = now + grace
        if old.expires_at is not None:
            until = min(until, old.expires_at)
        database.execute(
            "UPDATE api_keys SET expires_at = ?, replaced_by = ? WHERE id = ?",
            (until.timestamp(), new_id, key_id),
        )
        detail = {"replaced_by": new_id, "expires_at": until.isoformat()}
        note(database, actor, old.tenant, "key.rotate", key_id, detail)
        return key, _get(database, key_id)


def revoke_key(where: Path | str, key_id: str, *, actor: str = "operator") -> ApiKey:
    """Make a key worthless within a second; may be repeated. Raises UnknownKey."""
    with change(where, SECTION) as database:
        key = _get(database, key_id)
        if key.revoked_at is None:
            _set_revoked(database, key, _now(), actor)
        return _get(database, key_id)


def key_id_of(key: str) -> str:
    """The id that a key names."""
    return key.removeprefix(TEST_PREFIX if key.startswith(TEST_PREFIX) else PREFIX).partition("_")[
        0
    ]


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def scopes_of(stored: str | None) -> frozenset[Scope]:
    """The scopes of a row. One that this version of Hermes does not know allows nothing in it."""
    if stored is None:
        return EVERYTHING
    known = {scope.value for scope in Scope}
    return frozenset(Scope(name) for name in msgspec.json.decode(stored) if name in known)


def _insert(
    database: Database,
    tenant: str,
    note_: str,
    mode: Mode,
    scopes: frozenset[Scope],
    expires_at: datetime | None,
) -> tuple[str, str]:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    database.execute(
        _INSERT,
        (
            *(key_id, tenant, digest(secret), note_, mode.value),
            *(_scopes_json(scopes), _now().isoformat(), _seconds(expires_at)),
        ),
    )
    return key_id, f"{TEST_PREFIX if mode is Mode.TEST else PREFIX}{key_id}_{secret}"


def _get(database: Database, key_id: str) -> ApiKey:
    row = database.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        raise UnknownKey(key_id)
    return _from_row(row)


def _good(key: ApiKey) -> ApiKey:
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= _now()):
        raise KeyEnded(key.id)
    return key


def _last_in_place_of(database: Database, key: ApiKey) -> ApiKey:
    """The newest of the keys that replaced each other from this one on, which has the end that was
    meant: a replaced one has that of its grace."""
    while key.replaced_by is not None:
        key = _get(database, key.replaced_by)
    return key


def _revoke_unused(database: Database, key_id: str, now: datetime, actor: str) -> None:
    """Revoke a key that nobody has: its rotation was repeated before it was used."""
    key = _get(database, key_id)
    if key.revoked_at is None and key.last_used_at is None:
        _set_revoked(database, key, now, actor)


def _set_revoked(database: Database, key: ApiKey, now: datetime, actor: str) -> None:
    sql = "UPDATE api_keys SET revoked_at = ? WHERE id = ?"
    database.execute(sql, (now.isoformat(), key.id))
    note(database, actor, key.tenant, "key.revoke", key.id)


def _audited(note_: str, scopes: frozenset[Scope], expires_at: datetime | None) -> dict[str, Any]:
    return {
        "note": note_,
        "scopes": "everything" if scopes == EVERYTHING else named(scopes),
        "expires_at": None if expires_at is None else expires_at.isoformat(),
    }


def named(scopes: Iterable[Scope]) -> list[str]:
    """Scopes by their names, in one order."""
    return sorted(scope.value for scope in scopes)


def _scopes_json(scopes: frozenset[Scope]) -> str | None:
    # A key that may do everything may also do what later versions add.
    return None if scopes == EVERYTHING else msgspec.json.encode(named(scopes)).decode()


def _from_row(row: Any) -> ApiKey:
    id_, tenant, note_, mode, scopes, created, expires, used, revoked, replaced_by = row
    return ApiKey(
        id=id_,
        tenant=tenant,
        note=note_,
        mode=Mode(mode),
        scopes=scopes_of(scopes),
        created_at=datetime.fromisoformat(created),
        expires_at=_moment(expires),
        last_used_at=_moment(used),
        revoked_at=None if revoked is None else datetime.fromisoformat(revoked),
        replaced_by=replaced_by,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _now() -> datetime:
    return datetime.now(UTC)
