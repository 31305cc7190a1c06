"""Tenants and API keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.store.tenants import (
    REFRESH,
    SqliteKeyRing,
    UnknownKey,
    UnknownTenant,
    create_key,
    create_tenant,
    list_keys,
    revoke_key,
    webhook_secret,
)
from tests.waiting import until


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "hermes.db"
    create_tenant(path, "acme")
    return path


def test_a_key_opens_its_tenants_door_only(database: Path):
    create_tenant(database, "other")
    mine, theirs = create_key(database, "acme", "mine"), create_key(database, "other", "theirs")
    keys = SqliteKeyRing(database)
    found = [keys.authenticate(key) for key in (mine, theirs)]
    keys.close()
    assert [principal and principal.tenant for principal in found] == ["acme", "other"]


def test_the_secret_is_nowhere_in_the_files(database: Path):
    secret = create_key(database, "acme", "a note").split("_", 2)[2]
    files = list(database.parent.iterdir())
    contents = [file.read_bytes() for file in files]
    assert any(b"a note" in content for content in contents)
    assert all(secret.encode() not in content for content in contents)


def test_the_secret_is_not_listed(database: Path):
    key = create_key(database, "acme", "a note")
    (listed,) = list_keys(database, "acme")
    assert listed.id in key
    assert key.split("_", 2)[2] not in repr(listed)


MALFORMED = ["", "hk", "hk_", "hk__", "_", "__", "Bearer x", "hk_\0_\0", "hk_é_é", "x" * 10_000]


@pytest.mark.parametrize("presented", MALFORMED)
def test_a_malformed_key_opens_nothing(database: Path, presented: str):
    create_key(database, "acme", "")
    keys = SqliteKeyRing(database)
    assert keys.authenticate(presented) is None
    keys.close()


def test_parts_of_a_key_open_nothing(database: Path):
    key = create_key(database, "acme", "")
    prefix, key_id, secret = key.split("_", 2)
    other = create_key(database, "acme", "").split("_", 2)
    keys = SqliteKeyRing(database)
    wrong = [
        f"{prefix}_{key_id}",
        f"{prefix}_{key_id}_",
        f"{prefix}_{key_id}_{secret[:-1]}",
        f"{prefix}_{key_id}_{secret}x",
        f"{prefix}_{key_id}_{other[2]}",
        f"{prefix}_{other[1]}_{secret}",
        f"sk_{key_id}_{secret}",
        f"{prefix}__{secret}",
        secret,
        key.upper(),
    ]
    assert [text for text in wrong if keys.authenticate(text) is not None] == []
    assert keys.authenticate(key) is not None
    keys.close()


def test_another_process_changes_keys(database: Path):
    """A key that is made or revoked elsewhere is known here within `REFRESH` seconds."""
    keys = SqliteKeyRing(database)
    assert keys.authenticate("hk_nobody_nothing") is None
    script = "from adapters.store.tenants import *; from pathlib import Path; import sys;"

    def elsewhere(statement: str) -> str:
        command = [sys.executable, "-c", script + statement, str(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    key = elsewhere("print(create_key(Path(sys.argv[1]), 'acme', 'elsewhere'))")
    until(lambda: keys.authenticate(key), within=REFRESH + 0.5)
    elsewhere(f"revoke_key(Path(sys.argv[1]), '{key.split('_')[1]}')")
    until(lambda: keys.authenticate(key) is None, within=REFRESH + 0.5)
    keys.close()


def test_a_revoked_key_stays_in_the_list(database: Path):
    key_id = create_key(database, "acme", "").split("_")[1]
    revoke_key(database, key_id)
    (first,) = list_keys(database)
    revoke_key(database, key_id)
    (second,) = list_keys(database)
    assert first.revoked_at is not None
    assert first == second


def test_unknown_names_are_told(database: Path):
    with pytest.raises(UnknownTenant):
        create_key(database, "nobody", "")
    with pytest.raises(UnknownKey):
        revoke_key(database, "nothing")
    with pytest.raises(UnknownTenant):
        webhook_secret(database, "nobody")


def test_a_tenant_keeps_its_webhook_secret(database: Path):
    before = webhook_secret(database, "acme")
    create_tenant(database, "acme")
    assert webhook_secret(database, "acme") == before
    create_tenant(database, "other")
    assert webhook_secret(database, "other") != before
