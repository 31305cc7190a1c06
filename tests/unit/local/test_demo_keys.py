import stat

import pytest

from adapters.store.directory import SqliteKeyRing
from infra.local.demo_keys import ensure_demo_keys, key_file, read_demo_keys


@pytest.fixture
def database(tmp_path):
    return tmp_path / "hermes.db"


def owner(database, key):
    ring = SqliteKeyRing(database)
    try:
        principal = ring.authenticate(key)
        return principal and principal.tenant
    finally:
        ring.close()


def test_both_tenants_get_a_key_that_works_and_only_its_owner_can_read(tmp_path, database):
    keys = ensure_demo_keys(tmp_path, database)
    assert {tenant: owner(database, key) for tenant, key in keys.items()} == {
        "acme": "acme",
        "globex": "globex",
    }
    assert stat.S_IMODE(key_file(tmp_path).stat().st_mode) == 0o600


def test_keys_are_used_again(tmp_path, database):
    first = ensure_demo_keys(tmp_path, database)
    assert ensure_demo_keys(tmp_path, database) == first == read_demo_keys(tmp_path)


def test_keys_of_a_database_that_is_gone_are_made_anew(tmp_path, database):
    first = ensure_demo_keys(tmp_path, database)
    database.unlink()
    second = ensure_demo_keys(tmp_path, database)
    assert second.keys() == first.keys()
    assert not set(second.values()) & set(first.values())
    assert owner(database, second["acme"]) == "acme"


def test_lost_keys_are_replaced(tmp_path, database):
    ensure_demo_keys(tmp_path, database)
    key_file(tmp_path).unlink()
    assert owner(database, ensure_demo_keys(tmp_path, database)["globex"]) == "globex"


def test_a_file_that_holds_no_keys_is_refused(tmp_path):
    key_file(tmp_path).write_text('["acme"]')
    with pytest.raises(ValueError, match="remove the file"):
        read_demo_keys(tmp_path)
