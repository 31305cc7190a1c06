"""Who changed what, and when: a line for each change by an operator, or by a tenant of its own
settings. Lines are only ever added."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from adapters.store.database import Database
from adapters.store.tenant_settings import complete

acting: Final[ContextVar[str]] = ContextVar("acting", default="hermes")
"""Who makes the changes of this task, where it is not handed from call to call."""

NO_TENANT: Final = ""
"""In the place of the tenant: what concerns all of them."""

_INSERT: Final = (
    "INSERT INTO audit (at, actor, tenant, action, subject, detail_json) VALUES (?, ?, ?, ?, ?, ?)"
)
_COLUMNS: Final = "id, at, actor, tenant, action, subject, detail_json"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. `number` grows; `actor` is `operator`, perhaps with a name behind a colon,
    `key:` and the id of a tenant's API key, or `hermes` itself; `detail` mostly has what was
    `before` and `after`."""

    number: int
    at: datetime
    actor: str
    tenant: str
    action: str
    subject: str
    detail: dict[str, Any]


def note(
    database: Database,
    actor: str,
    tenant: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add a line, in the transaction of the change that it tells of.

    `action` is `thing.verb`, such as `key.revoke`; `subject` names the thing; `tenant` is
    NO_TENANT for what concerns all. Never put a secret or a person's address into it.
    """
    row = (time.time(), actor, tenant, action, subject, _encode(detail or {}).decode())
    database.execute(_INSERT, row)


def difference(before: Any, after: Any) -> dict[str, Any]:
    """What changed between two JSON-like values of one thing, as a `detail`: the keys that differ,
    each with both values. Objects are looked into."""
    changed: dict[str, tuple[Any, Any]] = {}
    _differ(complete(before), complete(after), "", changed)
    return {
        "before": {path: pair[0] for path, pair in changed.items()},
        "after": {path: pair[1] for path, pair in changed.items()},
    }


def entries(
    database: Database, *, tenant: str | None, limit: int, before: int | None = None
) -> list[AuditEntry]:
    """The newest lines first, of one tenant or of all; those `before` a number lead on."""
    where, values = [], []
    if tenant is not None:
        where.append("tenant = ?")
        values.append(tenant)
    if before is not None:
        where.append("id < ?")
        values.append(before)  # type: ignore[arg-type]
    rows = database.execute(
        f"SELECT {_COLUMNS} FROM audit"
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + " ORDER BY id DESC LIMIT ?",
        [*values, limit],
    )
    return [
        AuditEntry(number, datetime.fromtimestamp(at, UTC), actor, of, action, subject, _decode(d))
        for number, at, actor, of, action, subject, d in rows
    ]


def _differ(before: Any, after: Any, path: str, changed: dict[str, tuple[Any, Any]]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            _differ(before.get(key), after.get(key), f"{path}.{key}" if path else key, changed)
    elif before != after:
        changed[path] = (before, after)
