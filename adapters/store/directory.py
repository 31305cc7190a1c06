"""Who is calling, from memory: all tenants, and all API keys that are good for something."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from adapters.store import keys as stored_keys
from adapters.store import tenants as stored_tenants
from adapters.store.database import Database, connect
from adapters.store.keys import PREFIX, TEST_PREFIX
from adapters.store.sections import Sections
from domain.ports import Principal
from domain.tenancy import Mode, Tenant

USES_KEPT: Final = 60.0
"""Seconds between two notes of which keys were used."""

_LOAD: Final = (
    "SELECT id, tenant, secret_sha256, mode, scopes_json, expires_at FROM api_keys"
    " WHERE revoked_at IS NULL"
)
_USED: Final = (
    "UPDATE api_keys SET last_used_at = ?"
    " WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)"
)
_NEVER: Final = float("inf")
_logger: Final = logging.getLogger(__name__)


class _Key(NamedTuple):
    digest: bytes
    test: bool
    expires_at: float
    principal: Principal | None


_NOBODY: Final = _Key(bytes(32), False, _NEVER, None)
"""In the place of a key that is not there: it takes the same time to find that out."""


class Directory:
    """See `domain.ports.KeyRing` and `TenantDirectory`. A look costs no query; a change by any
    process is seen within a second.

    `clock` gives seconds since the epoch.
    """

    def __init__(
        self, where: Path | str, sections: Sections, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._where = where
        self._clock = clock
        self._tenants = sections.register(stored_tenants.SECTION, stored_tenants.load_tenants)
        self._keys = sections.register(stored_keys.SECTION, _load_keys)
        self._used: dict[str, float] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_uses, name="key-uses", daemon=True)
        self._thread.start()

    def authenticate(self, presented: str) -> Principal | None:
        """The key's owner, or None for a key that is unknown, malformed, expired or revoked."""
        test = presented.startswith(TEST_PREFIX)
        if not presented.startswith(PREFIX) or not presented.isascii():
            return None
        key_id, _, secret = presented[len(TEST_PREFIX if test else PREFIX) :].partition("_")
        key = self._keys.value.get(key_id, _NOBODY)
        matches = hmac.compare_digest(stored_keys.digest(secret), key.digest)
        now = self._clock()
        if not matches or key.test is not test or key.expires_at <= now:
            return None
        self._used[key_id] = now
        return key.principal

    def tenant(self, tenant: str) -> Tenant | None:
        """A tenant with its settings, None when there is none."""
        return self._tenants.value.get(tenant)

    def refresh(self) -> None:
        """See a change at once that was made by this process."""
        self._tenants.refresh()

    def close(self) -> None:
        """Note which keys were used. The sections are their owner's to close."""
        self._closing.set()
        self._thread.join()

    def _keep_uses(self) -> None:
        last = False
        while not last:
            last = self._closing.wait(USES_KEPT)
            used, self._used = self._used, {}
            if used:
                try:
                    self._write(used)
                except Exception as error:
                    _logger.warning("which keys were used could not be noted: %s", error)

    def _write(self, used: dict[str, float]) -> None:
        with closing(connect(self._where)) as database, database.transaction():
            # In one order, so that two processes never wait for each other.
            for key_id, at in sorted(used.items()):
                database.execute(_USED, (at, key_id, at))


class SqliteKeyRing(Directory):
    """A Directory with sections of its own."""

    def __init__(self, where: Path | str, *, clock: Callable[[], float] = time.time) -> None:
        self._sections = Sections(where)
        super().__init__(where, self._sections, clock=clock)

    def close(self) -> None:
        """End it all."""
        super().close()
        self._sections.close()


def _load_keys(database: Database) -> dict[str, _Key]:
    found: dict[str, _Key] = {}
    for id_, tenant, digest, mode, scopes, expires_at in database.execute(_LOAD).fetchall():
        try:
            kind = Mode(mode)
        except ValueError:
            # Of a later version of Hermes: what it stands for is not known here.
            continue
        principal = Principal(tenant, id_, stored_keys.scopes_of(scopes), kind)
        ends = _NEVER if expires_at is None else expires_at
        found[id_] = _Key(bytes(digest), kind is Mode.TEST, ends, principal)
    return found
