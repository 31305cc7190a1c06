"""`hermes tenants`, `keys` and `audit`: in the database of the settings, or over HTTP."""

import json

import pytest

from adapters.store.database import connect
from adapters.store.directory import SqliteKeyRing
from adapters.store.tenants import create_tenant
from domain.tenancy import Mode, Scope


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, in_empty_directory, monkeypatch):
    """The settings' database, with the tenant acme."""
    monkeypatch.delenv("HERMES_DATABASE_URL", raising=False)
    if request.param == "sqlite":
        where = in_empty_directory / ".hermes" / "hermes.db"
    else:
        where = request.getfixturevalue("postgres")
        monkeypatch.setenv("HERMES_DATABASE_URL", where)
    create_tenant(where, "acme")
    return where


@pytest.fixture
def said(run):
    """What a command prints, which has to succeed."""

    def said(*arguments):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return said


def authenticate(database, key):
    ring = SqliteKeyRing(database)
    try:
        return ring.authenticate(key)
    finally:
        ring.close()


def test_a_tenant_is_added_set_suspended_and_resumed(database, said):
    said("tenants", "add", "globex", "tier=custom")
    assert "tier is dedicated" in said("tenants", "set", "globex", "tier=dedicated")
    assert "suspended" in said("tenants", "suspend", "globex")
    assert json.loads(said("tenants", "show", "globex", "--json"))["changed"] == {
        "tier": "dedicated",
        "suspended": True,
    }
    said("tenants", "resume", "globex")
    said("tenants", "set", "globex", "tier=null")
    listed = json.loads(said("tenants", "list", "--json"))["tenants"]
    assert [(tenant["id"], tenant["changed"]) for tenant in listed] == [
        ("acme", {}),
        ("globex", {}),
    ]


VALUES = {
    "number": ("content.max_segments=3", {"content": {"max_segments": 3}}),
    "enumeration": ("content.encoding=economical", None),
    "truth": ("suspended=true", {"suspended": True}),
    "text_that_looks_like_none": ("compliance.time_zone=Europe/Copenhagen", None),
    "texts": ("content.links.hosts=a.example,b.example", None),
    "json": ('limits.recipient={"otp": {"count": 5, "seconds": 3600}}', None),
}


@pytest.mark.parametrize(("setting", "changed"), VALUES.values(), ids=VALUES)
def test_a_value_is_read_as_its_setting_takes_it(in_empty_directory, said, run, setting, changed):
    create_tenant(in_empty_directory / ".hermes" / "hermes.db", "acme")
    result = run("tenants", "set", "acme", setting, "--json")
    if changed is None:
        # The type is right, whatever the rules of the value are.
        assert "wrong_type" not in result.output
        assert "Expected" not in result.output or "Invalid enum" in result.output
    else:
        assert json.loads(result.stdout)["changed"] == changed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tenants", "show", "nobody"), "tenant_not_found"),
        (("tenants", "add", "acme"), "tenant_exists"),
        (("tenants", "add", "A"), "/id"),
        (("tenants", "set", "acme", "tier=gold"), "/tier"),
        (("tenants", "set", "acme", "colour=red"), "/colour"),
        (("keys", "create", "nobody"), "--new-tenant"),
        (("keys", "revoke", "abc"), "no key with the id abc"),
        (("keys", "rotate", "abc"), "key_not_found"),
        (("keys", "create", "acme", "--expires", "20y"), "20y"),
        (("keys", "create", "acme", "--scope", "fly"), "messages:send"),
        (("keys", "set", "abc"), "--note"),
    ],
)
def test_what_is_wrong_is_said(in_empty_directory, run, arguments, told):
    create_tenant(in_empty_directory / ".hermes" / "hermes.db", "acme")
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert told in result.output


def test_a_key_is_made_as_it_is_wanted_rotated_and_revoked(database, said):
    key = said(
        "keys", "create", "acme", "--test", "--scope", "read", "--expires", "90d", "--note", "shop"
    ).strip()
    principal = authenticate(database, key)
    assert (principal.mode, principal.scopes) == (Mode.TEST, {Scope.READ})
    rotated = said("keys", "rotate", principal.key_id, "--grace", "0s").strip()
    assert authenticate(database, key) is None
    successor = authenticate(database, rotated)
    assert successor.scopes == {Scope.READ}
    said("keys", "set", successor.key_id, "--scope", "messages:send", "--note", "mail")
    assert authenticate(database, rotated).scopes == {Scope.SEND}
    table = said("keys", "list", "--tenant", "acme")
    assert "mail" in table
    assert "expired" in table
    assert key.split("_", 3)[3] not in table
    said("keys", "revoke", successor.key_id)
    assert authenticate(database, rotated) is None


def test_the_audit_log_says_who_did_what(database, said, monkeypatch):
    monkeypatch.setenv("LOGNAME", "anna")
    said("tenants", "suspend", "acme")
    page = json.loads(said("audit", "--json", "--limit", "1"))
    [line] = page["entries"]
    assert (line["actor"], line["action"], line["tenant"]) == (
        "operator:anna",
        "tenant.change",
        "acme",
    )
    assert "false → true" in said("audit", "--tenant", "acme")
    assert said("audit", "--tenant", "nobody") == "No changes.\n"
    assert page["next_cursor"] is not None
    assert "tenant.create" in said("audit", "--cursor", page["next_cursor"])


def test_the_audit_log_is_whole_on_a_narrow_terminal(database, said, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LOGNAME", "anna-of-operations")
    tenant = "bakery-copenhagen-and-malmo"
    said("tenants", "add", tenant)
    said("tenants", "set", tenant, "opt_out.name=The Bakery", "retention.days=30")
    said("senders", "approve", tenant, "Bakery")
    lines = said("audit", "--tenant", tenant).splitlines()
    table = " ".join(" ".join(lines).split())
    for whole in (
        f"{tenant} tenant.change opt_out.name none → The Bakery, retention.days 90 → 30",
        f"{tenant} sender.put Bakery status none → approved",
    ):
        assert whole in table
    assert "none → none" not in table
    assert max(map(len, lines)) <= 100


def test_a_database_that_is_away_is_said_without_its_password(in_empty_directory, run, monkeypatch):
    monkeypatch.setenv("HERMES_DATABASE_URL", "postgresql://hermes:swordfish@127.0.0.1:1/hermes")
    result = run("tenants", "list")
    assert result.exit_code == 1
    assert "database cannot be used" in result.output
    assert "swordfish" not in result.output


def test_nothing_is_in_the_database_of_the_settings_that_was_not_put_there(
    in_empty_directory, said
):
    where = in_empty_directory / ".hermes" / "hermes.db"
    connect(where).close()
    assert "No tenants" in said("tenants", "list")


def test_over_http_the_operators_key_is_sent_and_who_it_is(
    api, in_empty_directory, run, monkeypatch
):
    monkeypatch.setenv("HERMES_API_URL", api.url)
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_of-the-operator")
    monkeypatch.setenv("LOGNAME", "anna")
    tenant = {
        "id": "acme",
        "created_at": "2026-01-01T00:00:00+00:00",
        "settings": {"tier": "shared", "suspended": True},
        "changed": {"suspended": True},
    }
    api.answer("PATCH", "/admin/v1/tenants/acme", 200, tenant)
    assert run("tenants", "suspend", "acme").exit_code == 0
    method, path, headers, body = api.requests[0]
    assert (method, path, body) == ("PATCH", "/admin/v1/tenants/acme", {"suspended": True})
    assert headers["Authorization"] == "Bearer hok_of-the-operator"
    assert headers["Hermes-Operator"] == "anna"


def test_another_operators_key_is_said(api, in_empty_directory, run, monkeypatch):
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_of-the-operator")
    api.answer("GET", "/admin/v1/tenants", 401, {"title": "No", "code": "invalid_key"})
    result = run("tenants", "list", "--api", api.url)
    assert result.exit_code == 1
    assert "HERMES_ADMIN__KEY" in result.output


def test_pages_are_followed_to_the_end(api, in_empty_directory, run, monkeypatch):
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_of-the-operator")
    tenant = {
        "created_at": "2026-01-01T00:00:00+00:00",
        "settings": {"tier": "shared", "suspended": False},
        "changed": {},
    }
    first = {"tenants": [{"id": "acme", **tenant}], "next_cursor": "acme"}
    last = {"tenants": [{"id": "globex", **tenant}], "next_cursor": None}
    api.answer("GET", "/admin/v1/tenants", 200, first)
    api.answer("GET", "/admin/v1/tenants", 200, last)
    listed = json.loads(run("tenants", "list", "--json", "--api", api.url).stdout)["tenants"]
    assert [one["id"] for one in listed] == ["acme", "globex"]
    assert "cursor=acme" in api.requests[1][1]


def test_tenants_can_be_added_before_anything_was_started(
    said, run, in_empty_directory, monkeypatch
):
    monkeypatch.delenv("HERMES_DATABASE_URL", raising=False)
    first = run("tenants", "add", "acme")
    assert first.exit_code == 0, first.output
    assert "is a new database" in first.stderr
    assert (in_empty_directory / ".hermes").stat().st_mode & 0o077 == 0
    assert "acme" in said("tenants", "list")
    assert "new database" not in run("tenants", "list").stderr


def test_a_place_where_no_database_can_be(run, in_empty_directory, monkeypatch):
    monkeypatch.delenv("HERMES_DATABASE_URL", raising=False)
    (in_empty_directory / ".hermes").write_text("a file")
    result = run("tenants", "list")
    assert result.exit_code == 1
    assert "cannot be made" in result.stderr


def test_a_tier_that_is_in_use_is_told_with_what_is_in_the_way(said, run, database):
    said("tenants", "set", "acme", "tier=dedicated")
    said("senders", "approve", "acme", "AcmeBank", "--reserved")
    result = run("tenants", "set", "acme", "tier=shared")
    assert result.exit_code == 1
    assert "the sender AcmeBank" in result.stderr
