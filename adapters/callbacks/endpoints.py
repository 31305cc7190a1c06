"""The tenants' callback endpoints: changed one transaction at a time, looked up in memory."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from adapters.store import audit
from adapters.store.change import change
from adapters.store.database import Database
from adapters.store.sections import Section, Sections
from adapters.wasm.store.sealing import Sealer, SecretsKeyError
from domain.callback import (
    ENDPOINT_PREFIX,
    MAX_ENDPOINTS,
    Endpoint,
    EventType,
    progress_wanted,
)

SECTION: Final = "callbacks"
HERMES: Final = "hermes"
"""Who disables an endpoint that fails for long, in the audit log."""
_MAX_SECRETS: Final = 5
"""Secrets of one endpoint that sign at a time: the newest, and those in their grace."""
_COLUMNS: Final = (
    "id, tenant, url, events_json, description, created_at, disabled_at, disabled_because"
)


class UnknownEndpoint(Exception):
    """The tenant has no such endpoint."""


class TooManyEndpoints(Exception):
    """The tenant has as many as one may have."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What signs. `expires_at` is epoch seconds, None for the newest."""

    text: str
    created_at: float
    expires_at: float | None


class Directory:
    """All endpoints as they are at one moment."""

    def __init__(
        self, endpoints: Iterable[Endpoint], signing: dict[str, tuple[Secret, ...]]
    ) -> None:
        self._by_id = {endpoint.id: endpoint for endpoint in endpoints}
        self._signing = signing
        by_tenant: dict[str, list[Endpoint]] = {}
        for endpoint in self._by_id.values():
            by_tenant.setdefault(endpoint.tenant, []).append(endpoint)
        self._by_tenant = {tenant: tuple(found) for tenant, found in by_tenant.items()}
        self._progress = {
            tenant: wanted
            for tenant, found in self._by_tenant.items()
            if (wanted := progress_wanted(found))
        }

    def of(self, tenant: str) -> tuple[Endpoint, ...]:
        """A tenant's endpoints, oldest first."""
        return self._by_tenant.get(tenant, ())

    def get(self, endpoint: str) -> Endpoint | None:
        """One endpoint, None when it is not there any more."""
        return self._by_id.get(endpoint)

    def disabled(self) -> dict[str, int]:
        """How many of their endpoints are disabled, of the tenants that have such."""
        return dict(Counter(each.tenant for each in self._by_id.values() if not each.enabled))

    def progress(self, tenant: str) -> tuple[str, ...]:
        """What a tenant's messages have to tell on their way: see `MessageOrder.tell`."""
        return self._progress.get(tenant, ())

    def secrets(self, endpoint: str, now: float) -> tuple[str, ...]:
        """What signs at `now` (epoch seconds), the newest first. None can be opened: empty."""
        return tuple(
            secret.text
            for secret in self._signing.get(endpoint, ())
            if secret.expires_at is None or secret.expires_at > now
        )

    def signing(self, endpoint: str) -> tuple[Secret, ...]:
        """All secrets that are kept, the newest first."""
        return self._signing.get(endpoint, ())


def follow(sections: Sections, sealer: Sealer) -> Section[Directory]:
    """The endpoints, kept up to date."""

    def load(database: Database) -> Directory:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM callback_endpoints WHERE removed_at IS NULL"
            " ORDER BY created_at, id"
        ).fetchall()
        signing: dict[str, list[Secret]] = {}
        stored = database.execute(
            "SELECT endpoint, sealed, created_at, expires_at FROM callback_secrets"
            " ORDER BY endpoint, number DESC"
        )
        for endpoint, sealed, created_at, expires_at in stored:
            try:
                text = sealer.open(bytes(sealed), (SECTION, endpoint))
            except SecretsKeyError:
                # Posts to it fail and say so; the others go on.
                continue
            signing.setdefault(endpoint, []).append(Secret(text, created_at, expires_at))
        return Directory(
            map(_endpoint, rows), {endpoint: tuple(found) for endpoint, found in signing.items()}
        )

    return sections.register(SECTION, load)


class EndpointStore:
    """Changes to the endpoints. Every method blocks for some milliseconds: call it in a thread."""

    def __init__(self, where: Path | str, sealer: Sealer) -> None:
        self._where = where
        self._sealer = sealer

    def create(
        self,
        tenant: str,
        url: str,
        events: frozenset[EventType],
        description: str,
        actor: str,
    ) -> tuple[Endpoint, str]:
        """Add an endpoint; returns it with its secret. Raises TooManyEndpoints."""
        endpoint = Endpoint(
            id=ENDPOINT_PREFIX + secrets.token_hex(12),
            tenant=tenant,
            url=url,
            events=events,
            description=description,
            created_at=datetime.fromtimestamp(round(time.time(), 3), UTC),
        )
        assert endpoint.created_at is not None
        now = endpoint.created_at.timestamp()
        with change(self._where, SECTION) as database:
            [(count,)] = database.execute(
                "SELECT count(*) FROM callback_endpoints WHERE tenant = ? AND removed_at IS NULL",
                (tenant,),
            ).fetchall()
            if count >= MAX_ENDPOINTS:
                raise TooManyEndpoints
            database.execute(
                "INSERT INTO callback_endpoints"
                " (id, tenant, url, description, events_json, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (endpoint.id, tenant, url, description, _events_json(events), now),
            )
            secret = self._add_secret(database, endpoint.id, 1, now)
            self._note(database, actor, endpoint, "create", _shown(endpoint))
        return endpoint, secret

    def change(
        self,
        tenant: str,
        endpoint_id: str,
        actor: str,
        *,
        url: str | None = None,
        events: frozenset[EventType] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is not None. To enable it again forgets that it failed. Raises
        UnknownEndpoint."""
        with change(self._where, SECTION) as database:
            before = _find(database, tenant, endpoint_id)
            now = time.time()
            disabled_at = None if before.disabled_at is None else before.disabled_at.timestamp()
            because = before.disabled_because
            if enabled is True:
                disabled_at, because = None, None
            elif enabled is False and disabled_at is None:
                disabled_at, because = now, "by request"
            after = Endpoint(
                before.id,
                tenant,
                before.url if url is None else url,
                before.events if events is None else events,
                before.description if description is None else description,
                before.created_at,
                None if disabled_at is None else datetime.fromtimestamp(disabled_at, UTC),
                because,
            )
            database.execute(
                "UPDATE callback_endpoints SET url = ?, events_json = ?, description = ?,"
                " disabled_at = ?, disabled_because = ? WHERE id = ?",
                (
                    after.url,
                    _events_json(after.events),
                    after.description,
                    disabled_at,
                    because,
                    endpoint_id,
                ),
            )
            if enabled or after.url != before.url:
                # What is known about it is of the past: it is tried at once.
                database.execute("DELETE FROM callback_health WHERE endpoint = ?", (endpoint_id,))
            self._note(
                database,
                actor,
                after,
                "change",
                audit.difference(_shown(before), _shown(after)),
            )
        return after

    def disable(self, endpoint_id: str, because: str) -> None:
        """Send nothing more to an endpoint that failed for too long. Nothing happens to one that
        is disabled already, or gone."""
        with change(self._where, SECTION) as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM callback_endpoints WHERE id = ?"
                " AND removed_at IS NULL AND disabled_at IS NULL",
                (endpoint_id,),
            ).fetchone()
            if row is None:
                return
            database.execute(
                "UPDATE callback_endpoints SET disabled_at = ?, disabled_because = ? WHERE id = ?",
                (time.time(), because, endpoint_id),
            )
            self._note(database, HERMES, _endpoint(row), "disable", {"because": because})

    def remove(self, tenant: str, endpoint_id: str, actor: str) -> None:
        """Take an endpoint away; what waited for it is dropped. Raises UnknownEndpoint."""
        with change(self._where, SECTION) as database:
            endpoint = _find(database, tenant, endpoint_id)
            database.execute(
                "UPDATE callback_endpoints SET removed_at = ? WHERE id = ?",
                (time.time(), endpoint_id),
            )
            database.execute("DELETE FROM callback_secrets WHERE endpoint = ?", (endpoint_id,))
            database.execute("DELETE FROM callback_health WHERE endpoint = ?", (endpoint_id,))
            self._note(database, actor, endpoint, "remove", _shown(endpoint))

    def rotate(self, tenant: str, endpoint_id: str, grace: timedelta, actor: str) -> str:
        """A new secret; those of before go on signing beside it until `grace` is over. Raises
        UnknownEndpoint."""
        now = time.time()
        with change(self._where, SECTION) as database:
            endpoint = _find(database, tenant, endpoint_id)
            ends = now + grace.total_seconds()
            database.execute(
                "UPDATE callback_secrets SET expires_at = ?"
                " WHERE endpoint = ? AND (expires_at IS NULL OR expires_at > ?)",
                (ends, endpoint_id, ends),
            )
            [(newest,)] = database.execute(
                "SELECT max(number) FROM callback_secrets WHERE endpoint = ?", (endpoint_id,)
            ).fetchall()
            database.execute(
                "DELETE FROM callback_secrets WHERE endpoint = ?"
                " AND (expires_at <= ? OR number <= ?)",
                (endpoint_id, now, (newest or 0) - _MAX_SECRETS + 1),
            )
            secret = self._add_secret(database, endpoint_id, (newest or 0) + 1, now)
            self._note(
                database, actor, endpoint, "rotate", {"grace_seconds": grace.total_seconds()}
            )
        return secret

    def _add_secret(self, database: Database, endpoint: str, number: int, now: float) -> str:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        database.execute(
            "INSERT INTO callback_secrets (endpoint, number, sealed, created_at)"
            " VALUES (?, ?, ?, ?)",
            (endpoint, number, self._sealer.seal(secret, (SECTION, endpoint)), now),
        )
        return secret

    @staticmethod
    def _note(
        database: Database, actor: str, endpoint: Endpoint, verb: str, detail: dict[str, Any]
    ) -> None:
        audit.note(database, actor, endpoint.tenant, f"callback.{verb}", endpoint.id, detail)


def _find(database: Database, tenant: str, endpoint: str) -> Endpoint:
    row = database.execute(
        f"SELECT {_COLUMNS} FROM callback_endpoints"
        " WHERE id = ? AND tenant = ? AND removed_at IS NULL",
        (endpoint, tenant),
    ).fetchone()
    if row is None:
        raise UnknownEndpoint
    return _endpoint(row)


def _endpoint(row: Any) -> Endpoint:
    id_, tenant, url, events, description, created_at, disabled_at, because = row
    return Endpoint(
        id_,
        tenant,
        url,
        frozenset(map(EventType, json.loads(events))),
        description,
        datetime.fromtimestamp(created_at, UTC),
        None if disabled_at is None else datetime.fromtimestamp(disabled_at, UTC),
        because,
    )


def _events_json(events: frozenset[EventType]) -> str:
    return json.dumps(sorted(event.value for event in events))


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    return {
        # Without its query, where some receivers want a token of theirs.
        "url": endpoint.url.partition("?")[0],
        "events": sorted(event.value for event in endpoint.events),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
    }
