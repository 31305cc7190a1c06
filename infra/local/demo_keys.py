"""The two tenants of the local stack and their API keys."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

DEMO_TENANTS = ("acme", "globex")
ACTOR = "operator:hermes-up"


def key_file(data_dir: Path) -> Path:
    """Where the keys lie, readable by their owner only: `{"acme": "…", "globex": "…"}`."""
    return data_dir / "demo-keys.json"


def read_demo_keys(data_dir: Path) -> dict[str, str]:
    """The keys by tenant, empty when none have been made yet.

    Raises ValueError when the file holds something else.
    """
    try:
        keys = json.loads(key_file(data_dir).read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise ValueError(f"{key_file(data_dir)} does not hold keys by tenant; remove the file")
    return keys


def ensure_demo_keys(data_dir: Path, database: Path | str) -> dict[str, str]:
    """The keys by tenant; tenants and keys that are missing are made in the database.

    A key is shown once and only its hash is stored, so a lost key file means new keys. Keys that
    the database does not have are thrown away.
    """
    from adapters.store.keys import create_key

    kept = read_demo_keys(data_dir)
    keys = {tenant: key for tenant, key in kept.items() if _works(database, key)}
    missing = [tenant for tenant in DEMO_TENANTS if tenant not in keys]
    for tenant in missing:
        _make(database, tenant)
        keys[tenant] = create_key(database, tenant, "made by hermes up", actor=ACTOR)
    if missing:
        _write_private(key_file(data_dir), json.dumps(keys, indent=2) + "\n")
    return keys


def _make(database: Path | str, tenant: str) -> None:
    from adapters.store.tenants import TenantExists, add_tenant

    with contextlib.suppress(TenantExists):
        # Of the tier that may do everything, to be tried out.
        add_tenant(database, tenant, {"tier": "custom"}, actor=ACTOR)


def _works(database: Path | str, key: str) -> bool:
    from adapters.store.keys import UnknownKey, get_key, key_id_of

    try:
        found = get_key(database, key_id_of(key))
    except UnknownKey:
        return False
    return found.revoked_at is None and found.expires_at is None


def _write_private(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
