"""Tenants and API keys, on each database."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from adapters.store import directory as directory_module
from adapters.store.audit import entries
from adapters.store.change import change
from adapters.store.database import connect
from adapters.store.directory import SqliteKeyRing
from adapters.store.keys import (
    SECTION,
    KeyEnded,
    UnknownKey,
    change_key,
    create_key,
    get_key,
    key_id_of,
    list_keys,
    revoke_key,
    rotate_key,
)
from adapters.store.tenant_settings import SettingsInvalid, complete
from adapters.store.tenants import (
    TenantExists,
    TenantIdInvalid,
    UnknownTenant,
    add_tenant,
    change_tenant,
    create_tenant,
    get_tenant,
    list_tenants,
    webhook_secret,
)
from domain.tenancy import EVERYTHING, Mode, Scope, Tenant, Tier
from tests.waiting import until

Where = Path | str
SEEN = 1.0
"""Seconds within which every process knows of a change."""


@pytest.fixture
def database(where: Where) -> Where:
    create_tenant(where, "acme")
    return where


@contextmanager
def ring(database: Where, **options):
    with closing(SqliteKeyRing(database, **options)) as keys:
        yield keys


def audited(database: Where):
    with closing(connect(database)) as connection:
        return entries(connection, tenant=None, limit=99)


# --- keys


def test_a_key_opens_its_tenants_door_only(database: Where):
    create_tenant(database, "other")
    made = [create_key(database, "acme", "mine"), create_key(database, "other", "theirs")]
    with ring(database) as keys:
        found = [keys.authenticate(key) for key in made]
    assert [principal and principal.tenant for principal in found] == ["acme", "other"]


def test_the_secret_is_nowhere_in_the_files(tmp_path: Path):
    database = tmp_path / "hermes.db"
    create_tenant(database, "acme")
    key = create_key(database, "acme", "a note")
    replacement, _ = rotate_key(database, key_id_of(key), timedelta(0))
    contents = [file.read_bytes() for file in tmp_path.iterdir()]
    assert any(b"a note" in content for content in contents)
    for secret in (key.split("_", 2)[2], replacement.split("_", 2)[2]):
        assert all(secret.encode() not in content for content in contents)


def test_the_secret_is_not_listed_and_not_audited(database: Where):
    key = create_key(database, "acme", "a note")
    (listed,) = list_keys(database, "acme")
    assert listed.id == key_id_of(key)
    assert key.split("_", 2)[2] not in repr(listed) + repr(audited(database))


MALFORMED = ("", "hk", "hk_", "hk__", "_", "__", "hk_test_", "hk_test__", "Bearer x", "hk_\0_\0")
NOT_ASCII = ("hk_é_é", "hk_\ud800_x", "hk_x_\ud800")


def test_a_malformed_key_opens_nothing(database: Where):
    create_key(database, "acme", "")
    with ring(database) as keys:
        texts = (*MALFORMED, *NOT_ASCII, "x" * 10_000)
        assert [text for text in texts if keys.authenticate(text) is not None] == []


@pytest.mark.parametrize("mode", Mode)
def test_parts_of_a_key_open_nothing(database: Where, mode: Mode):
    key, other = (create_key(database, "acme", mode=mode) for _ in range(2))
    key_id = key_id_of(key)
    prefix, secret = key.split(f"{key_id}_")
    other_id = key_id_of(other)
    other_secret = other.split(f"{other_id}_")[1]
    wrong = [
        f"{prefix}{key_id}",
        f"{prefix}{key_id}_",
        f"{prefix}{key_id}_{secret[:-1]}",
        f"{prefix}{key_id}_{secret}x",
        f"{prefix}{key_id}_{other_secret}",
        f"{prefix}{other_id}_{secret}",
        f"sk_{key_id}_{secret}",
        f"{prefix}_{secret}",
        f"{prefix}{secret}",
        secret,
        key.upper(),
    ]
    with ring(database) as keys:
        assert [text for text in wrong if keys.authenticate(text) is not None] == []
        assert keys.authenticate(key) is not None


def test_a_test_key_is_none_without_its_mark_and_a_live_one_none_with_it(database: Where):
    live = create_key(database, "acme", mode=Mode.LIVE)
    test = create_key(database, "acme", mode=Mode.TEST)
    assert test.startswith("hk_test_")
    with ring(database) as keys:
        assert keys.authenticate(live.replace("hk_", "hk_test_", 1)) is None
        assert keys.authenticate(test.replace("hk_test_", "hk_", 1)) is None
        found = [keys.authenticate(key) for key in (live, test)]
    assert [principal and principal.mode for principal in found] == [Mode.LIVE, Mode.TEST]


@pytest.mark.parametrize("scopes", [EVERYTHING, {Scope.SEND}, set()], ids=["all", "one", "none"])
def test_a_key_has_its_scopes(database: Where, scopes: set[Scope]):
    key = create_key(database, "acme", scopes=frozenset(scopes))
    with ring(database) as keys:
        principal = keys.authenticate(key)
    assert principal is not None
    assert principal.scopes == scopes
    assert get_key(database, key_id_of(key)).scopes == scopes


def test_an_expired_key_opens_nothing(database: Where):
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    key = create_key(database, "acme", expires_at=expires_at)
    now = [expires_at.timestamp() - 0.001]
    with ring(database, clock=lambda: now[0]) as keys:
        assert keys.authenticate(key) is not None
        now[0] += 0.001
        assert keys.authenticate(key) is None


def test_a_rotated_key_stays_good_for_the_grace(database: Where):
    old = create_key(database, "acme", "shop", mode=Mode.TEST, scopes=frozenset({Scope.SEND}))
    new, ended = rotate_key(database, key_id_of(old), timedelta(hours=1))
    assert ended.replaced_by == key_id_of(new)
    assert ended.expires_at is not None
    now = [ended.expires_at.timestamp() - 1]
    with ring(database, clock=lambda: now[0]) as keys:
        first, second = (keys.authenticate(key) for key in (old, new))
        assert first is not None
        assert second is not None
        assert (first.tenant, first.mode, first.scopes) == (
            second.tenant,
            second.mode,
            second.scopes,
        )
        now[0] += 2
        assert keys.authenticate(old) is None
        assert keys.authenticate(new) is not None


def test_a_rotated_key_lives_no_longer_than_before_and_its_successor_as_long(database: Where):
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    old = create_key(database, "acme", expires_at=expires_at)
    new, ended = rotate_key(database, key_id_of(old), timedelta(days=1))
    assert ended.expires_at == pytest.approx(expires_at, abs=timedelta(milliseconds=1))
    successor = get_key(database, key_id_of(new))
    assert successor.expires_at is not None
    life = successor.expires_at - successor.created_at
    assert timedelta(minutes=9.9) < life <= timedelta(minutes=10)


REPEATED = {
    # days for which the key was good when it was made (None: for ever), whether its successor was
    # used before the rotation was repeated, and the successor's end in days from then
    "without an end": (None, False, None),
    "without an end, in use": (None, True, None),
    "with an end": (365, False, 365),
    "with an end, in use": (365, True, 365),
}


@pytest.mark.parametrize(("life", "used", "left"), REPEATED.values(), ids=REPEATED)
def test_a_rotation_that_is_repeated_makes_a_key_that_lives(database: Where, life, used, left):
    made_at = datetime.now(UTC) - timedelta(days=30)
    old = key_id_of(create_key(database, "acme"))
    with change(database, SECTION) as opened:
        ends = None if life is None else (made_at + timedelta(days=life)).timestamp()
        row = (made_at.isoformat(), ends, old)
        opened.execute("UPDATE api_keys SET created_at = ?, expires_at = ? WHERE id = ?", row)
    first = key_id_of(rotate_key(database, old, timedelta(days=1))[0])
    if used:
        with change(database, SECTION) as opened:
            opened.execute("UPDATE api_keys SET last_used_at = 1 WHERE id = ?", (first,))
    again, replaced = rotate_key(database, old, timedelta(days=1))
    newest = get_key(database, key_id_of(again))
    assert replaced.replaced_by == newest.id
    assert newest.expires_at == get_key(database, first).expires_at
    if left is None:
        assert newest.expires_at is None
    else:
        ends = datetime.now(UTC) + timedelta(days=left)
        assert newest.expires_at == pytest.approx(ends, abs=timedelta(minutes=1))
    assert (get_key(database, first).revoked_at is None) == used
    with ring(database) as keys:
        assert keys.authenticate(again) is not None


def test_a_repeated_rotation_after_the_successors_own_has_the_end_that_was_meant(database: Where):
    old = key_id_of(create_key(database, "acme"))
    successor, _ = rotate_key(database, old, timedelta(days=1))
    rotate_key(database, key_id_of(successor), timedelta(hours=1))
    newest, _ = rotate_key(database, old, timedelta(days=1))
    assert get_key(database, key_id_of(newest)).expires_at is None


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_has_ended_is_neither_replaced_nor_changed(database: Where, how: str):
    past = datetime.now(UTC) - timedelta(seconds=1)
    key_id = key_id_of(create_key(database, "acme", expires_at=past if how == "expired" else None))
    if how == "revoked":
        revoke_key(database, key_id)
    with pytest.raises(KeyEnded):
        rotate_key(database, key_id, timedelta(hours=1))
    with pytest.raises(KeyEnded):
        change_key(database, key_id, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert len(list_keys(database)) == 1


def test_when_a_key_was_last_used_is_kept(database: Where, monkeypatch):
    monkeypatch.setattr(directory_module, "USES_KEPT", 0.05)
    used, unused = (create_key(database, "acme") for _ in range(2))
    with ring(database) as keys:
        began = datetime.now(UTC)
        keys.authenticate(used)
        keys.authenticate(used + "x")
        keys.authenticate(unused + "x")
        at = until(lambda: get_key(database, key_id_of(used)).last_used_at)
        assert at == pytest.approx(began, abs=timedelta(seconds=5))
    assert get_key(database, key_id_of(unused)).last_used_at is None


def test_when_a_key_was_last_used_never_goes_back(database: Where):
    key = create_key(database, "acme")
    for at in (2_000_000_000.0, 1_000_000_000.0):
        with ring(database, clock=lambda at=at: at) as keys:
            assert keys.authenticate(key) is not None
    last = get_key(database, key_id_of(key)).last_used_at
    assert last is not None
    assert last.timestamp() == 2_000_000_000.0


def test_another_process_changes_keys(database: Where):
    """A key that is made or revoked elsewhere is known here within a second."""
    script = "from adapters.store.keys import *; import sys; from pathlib import Path;"
    script += "where = sys.argv[1] if '://' in sys.argv[1] else Path(sys.argv[1]);"

    def elsewhere(statement: str) -> str:
        command = [sys.executable, "-c", script + statement, str(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with ring(database) as keys:
        key = elsewhere("print(create_key(where, 'acme', 'elsewhere'))")
        until(lambda: keys.authenticate(key), within=SEEN)
        elsewhere(f"revoke_key(where, '{key_id_of(key)}')")
        until(lambda: keys.authenticate(key) is None, within=SEEN)


def test_a_revoked_key_stays_in_the_list(database: Where):
    key_id = key_id_of(create_key(database, "acme"))
    revoke_key(database, key_id)
    (first,) = list_keys(database)
    revoke_key(database, key_id)
    (second,) = list_keys(database)
    assert first.revoked_at is not None
    assert first == second


def test_keys_are_listed_in_pages(database: Where):
    create_tenant(database, "other")
    for tenant in ("acme", "other") * 3:
        create_key(database, tenant)
    every = list_keys(database)
    assert len(every) == 6
    for tenant in (None, "acme"):
        pages, after = [], None
        while page := list_keys(database, tenant, limit=2, after=after):
            pages += page
            after = (page[-1].created_at.isoformat(), page[-1].id)
        assert pages == [key for key in every if tenant in (None, key.tenant)]


def test_unknown_names_are_told(database: Where):
    with pytest.raises(UnknownTenant):
        create_key(database, "nobody")
    for missing in (revoke_key, get_key):
        with pytest.raises(UnknownKey):
            missing(database, "nothing")
    with pytest.raises(UnknownKey):
        rotate_key(database, "nothing", timedelta(0))
    for unknown in (webhook_secret, get_tenant):
        with pytest.raises(UnknownTenant):
            unknown(database, "nobody")
    with pytest.raises(UnknownTenant):
        change_tenant(database, "nobody", {})


# --- tenants


def test_a_tenant_keeps_its_webhook_secret(database: Where):
    before = webhook_secret(database, "acme")
    create_tenant(database, "acme")
    assert webhook_secret(database, "acme") == before
    create_tenant(database, "other")
    assert webhook_secret(database, "other") != before


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a\n", "a/b", "é", "a" * 64, "a\0"])
def test_a_tenant_has_an_id_that_fits_a_path(where: Where, name: str):
    with pytest.raises(TenantIdInvalid):
        create_tenant(where, name)


def test_a_tenant_is_not_added_twice(database: Where):
    with pytest.raises(TenantExists):
        add_tenant(database, "acme", {"tier": "custom"})
    assert get_tenant(database, "acme").tenant == Tenant("acme")


def test_settings_are_changed_one_by_one_and_null_is_the_default(database: Where):
    change_tenant(database, "acme", {"tier": "dedicated"})
    changed = change_tenant(database, "acme", {"suspended": True})
    assert changed.tenant == Tenant("acme", tier=Tier.DEDICATED, suspended=True)
    assert changed.changed == {"tier": "dedicated", "suspended": True}
    assert change_tenant(database, "acme", {"tier": None, "suspended": None}).changed == {}


WRONG = {
    "no_such_setting": ({"colour": "red"}, [("unknown_field", ("colour",))]),
    "no_such_tier": ({"tier": "gold"}, [("unknown_value", ("tier",))]),
    "another_type": ({"suspended": "yes"}, [("wrong_type", ("suspended",))]),
    "another_id": ({"id": "globex"}, [("invalid_value", ("id",))]),
    "two": ({"a": 1, "b": 2}, [("unknown_field", ("a",)), ("unknown_field", ("b",))]),
}


@pytest.mark.parametrize(("patch", "faults"), WRONG.values(), ids=WRONG)
def test_wrong_settings_change_nothing(database: Where, patch, faults):
    with pytest.raises(SettingsInvalid) as refused:
        change_tenant(database, "acme", {"tier": "custom", **patch})
    assert [(fault.code, fault.path) for fault in refused.value.faults] == faults
    assert get_tenant(database, "acme").tenant == Tenant("acme")
    with pytest.raises(SettingsInvalid):
        add_tenant(database, "globex", patch)
    assert [each.tenant.id for each in list_tenants(database)] == ["acme"]


def test_a_change_of_a_tenant_is_seen_by_every_process(database: Where):
    with ring(database) as here:
        assert here.tenant("acme") == Tenant("acme")
        assert here.tenant("nobody") is None
        change_tenant(database, "acme", {"suspended": True})
        until(lambda: here.tenant("acme").suspended, within=SEEN)


def test_two_who_change_different_settings_at_once_both_do(database: Where):
    """The second waits for the first, and does not write over what that one wrote."""
    script = """
import sys; from pathlib import Path
from adapters.store.tenants import change_tenant
where = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
for n in range(20):
    change_tenant(where, "acme", {sys.argv[2]: None if n % 2 else eval(sys.argv[3])})
change_tenant(where, "acme", {sys.argv[2]: eval(sys.argv[3])})
"""
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(database), name, value])
        for name, value in (("tier", "'custom'"), ("suspended", "True"))
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    assert get_tenant(database, "acme").tenant == Tenant("acme", Tier.CUSTOM, suspended=True)


def test_settings_of_a_later_version_are_read_without_what_is_not_known(database: Where):
    with closing(connect(database)) as connection:
        connection.execute(
            "UPDATE tenants SET settings_json = ? WHERE id = ?",
            ('{"tier": "custom", "colour": {"deep": 1}}', "acme"),
        )
    with ring(database) as keys:
        assert keys.tenant("acme") == Tenant("acme", Tier.CUSTOM)


@pytest.mark.parametrize("broken", ['{"tier": "gold"}', "{", "[]"])
def test_a_tenant_whose_settings_cannot_be_read_sends_nothing_and_the_others_do(
    database: Where, broken: str
):
    create_tenant(database, "globex")
    with closing(connect(database)) as connection:
        connection.execute("UPDATE tenants SET settings_json = ? WHERE id = ?", (broken, "acme"))
    with ring(database) as keys:
        assert keys.tenant("acme") == Tenant("acme", suspended=True)
        assert keys.tenant("globex") == Tenant("globex")


def test_tenants_are_listed_in_pages(database: Where):
    for name in ("c", "b", "d"):
        create_tenant(database, name)
    first = list_tenants(database, limit=3)
    rest = list_tenants(database, limit=3, after=first[-1].tenant.id)
    assert [each.tenant.id for each in first + rest] == ["acme", "b", "c", "d"]


def test_a_complete_view_shows_the_defaults():
    shown = complete(Tenant("acme"))
    assert shown.keys() == set(msgspec.structs.asdict(Tenant("acme")))
    assert (shown["tier"], shown["suspended"]) == ("shared", False)


# --- the audit log


def test_each_change_is_in_the_audit_log_with_before_and_after(database: Where):
    change_tenant(database, "acme", {"tier": "custom"}, actor="operator:anna")
    change_tenant(database, "acme", {"tier": "custom"})
    key_id = key_id_of(create_key(database, "acme", "shop"))
    change_key(database, key_id, note_="mail")
    new, old = rotate_key(database, key_id, timedelta(0))
    revoke_key(database, key_id_of(new))
    revoke_key(database, key_id_of(new))
    found = audited(database)[::-1]
    assert [(line.action, line.subject) for line in found] == [
        ("tenant.create", "acme"),
        ("tenant.change", "acme"),
        ("key.create", key_id),
        ("key.change", key_id),
        ("key.rotate", key_id),
        ("key.revoke", key_id_of(new)),
    ]
    assert {line.tenant for line in found} == {"acme"}
    assert [line.actor for line in found[:3]] == ["operator", "operator:anna", "operator"]
    assert found[1].detail == {"before": {"tier": "shared"}, "after": {"tier": "custom"}}
    assert found[3].detail == {"before": {"note": "shop"}, "after": {"note": "mail"}}
    assert found[4].detail["replaced_by"] == key_id_of(new)
    assert old.expires_at is not None


def test_a_change_that_fails_leaves_no_line(database: Where):
    before = audited(database)
    with pytest.raises(UnknownTenant):
        create_key(database, "nobody")
    with pytest.raises(SettingsInvalid):
        change_tenant(database, "acme", {"tier": 1})
    assert audited(database) == before


def test_the_audit_log_is_read_in_pages_of_one_tenant_or_of_all(database: Where):
    create_tenant(database, "globex")
    for tier in ("custom", "shared", "dedicated"):
        change_tenant(database, "globex", {"tier": tier})
    with closing(connect(database)) as connection:
        for tenant, size in ((None, 5), ("globex", 4), ("acme", 1), ("nobody", 0)):
            every = entries(connection, tenant=tenant, limit=99)
            assert len(every) == size
            pages, before = [], None
            while page := entries(connection, tenant=tenant, limit=2, before=before):
                pages += page
                before = page[-1].number
            assert pages == every
