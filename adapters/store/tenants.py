"""Tenants and their API keys.

A key reads `hk_<id>_<secret>`. Only the SHA-256 of the secret is stored: it has 256 random bits,
so a slow hash would protect nothing. Lookups come from memory; a change by any process is seen
within `REFRESH` seconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from adapters.store.schema import migrate
from adapters.store.sqlite import SqliteDatabase, open_file
from domain.ports import Principal

REFRESH = 1.0
"""Seconds after which a key that was created or revoked elsewhere is known here."""

_PREFIX = "hk"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it may be shown: never its secret."""

    id: str
    tenant: str
    note: str
    created_at: datetime
    revoked_at: datetime | None


class UnknownTenant(Exception):
    """No tenant has this id."""


class UnknownKey(Exception):
    """No API key has this id."""


def create_tenant(path: Path, tenant: str) -> None:
    """Add a tenant; one that is there already is left alone."""
    with _transaction(path) as connection:
        connection.execute(
            "INSERT INTO tenants (id, webhook_secret, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (tenant, "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(), _now()),
        )


def create_key(path: Path, tenant: str, note: str) -> str:
    """Make an API key and return it, this once. Raises UnknownTenant."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with _transaction(path) as connection:
        if connection.execute("SELECT 1 FROM tenants WHERE id = ?", (tenant,)).fetchone() is None:
            raise UnknownTenant(tenant)
        connection.execute(
            "INSERT INTO api_keys (id, tenant, secret_sha256, note, created_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (key_id, tenant, _digest(secret), note, _now()),
        )
    return f"{_PREFIX}_{key_id}_{secret}"


def list_keys(path: Path, tenant: str | None = None) -> list[ApiKey]:
    """The keys of one tenant, or of all, oldest first."""
    with _transaction(path) as connection:
        rows = connection.execute(
            "SELECT id, tenant, note, created_at, revoked_at FROM api_keys"
            " WHERE ? IS NULL OR tenant = ? ORDER BY created_at, id",
            (tenant, tenant),
        ).fetchall()
    return [
        ApiKey(
            id_,
            owner,
            note,
            datetime.fromisoformat(created_at),
            None if revoked_at is None else datetime.fromisoformat(revoked_at),
        )
        for id_, owner, note, created_at, revoked_at in rows
    ]


def revoke_key(path: Path, key_id: str) -> None:
    """Make a key worthless within `REFRESH` seconds; may be repeated. Raises UnknownKey."""
    with _transaction(path) as connection:
        changed = connection.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
            (_now(), key_id),
        ).rowcount
    if not changed:
        raise UnknownKey(key_id)


def webhook_secret(path: Path, tenant: str) -> str:
    """The secret that signs a tenant's status callbacks. Raises UnknownTenant."""
    with closing(open_file(path)) as connection:
        row = connection.execute(
            "SELECT webhook_secret FROM tenants WHERE id = ?", (tenant,)
        ).fetchone()
    if row is None:
        raise UnknownTenant(tenant)
    return str(row[0])


class SqliteKeyRing:
    """All live keys in memory, read again when the database file has changed."""

    def __init__(self, path: Path) -> None:
        self._connection = open_file(path)
        migrate(self._connection, "hermes")
        self._keys: dict[str, tuple[str, bytes]] = {}
        self._version: int | None = None
        self._checked_at = float("-inf")

    def authenticate(self, presented: str) -> Principal | None:
        """The key's owner, or None for a key that is unknown, malformed or revoked."""
        self._refresh()
        prefix, _, rest = presented.partition("_")
        key_id, _, secret = rest.partition("_")
        tenant, expected = self._keys.get(key_id, ("", b""))
        matches = hmac.compare_digest(_digest(secret), expected)
        return Principal(tenant, key_id) if matches and prefix == _PREFIX else None

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < REFRESH:
            return
        self._checked_at = now
        # The file's change counter also moves for the message log, but reading a few keys a
        # second costs less than a table of versions would.
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        self._version = version
        rows = self._connection.execute(
            "SELECT id, tenant, secret_sha256 FROM api_keys WHERE revoked_at IS NULL"
        )
        self._keys = {id_: (tenant, digest) for id_, tenant, digest in rows}


@contextmanager
def _transaction(path: Path) -> Iterator[SqliteDatabase]:
    """A migrated connection for one administrative command, in one transaction."""
    connection = open_file(path)
    try:
        migrate(connection, "hermes")
        with connection.transaction():
            yield connection
    finally:
        connection.close()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat()
