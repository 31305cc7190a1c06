"""`hermes senders`, in the database of the settings."""

import json

import pytest

from adapters.store.tenants import add_tenant


@pytest.fixture
def said(run, in_empty_directory, monkeypatch):
    """What a command prints, which has to succeed; there is a tenant acme."""
    monkeypatch.delenv("HERMES_DATABASE_URL", raising=False)
    add_tenant(in_empty_directory / ".hermes" / "hermes.db", "acme", {"tier": "dedicated"})

    def said(*arguments):
        result = run("senders", *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return said


def test_senders_are_approved_listed_and_removed(said):
    assert "No senders" in said("list")
    approved = said("approve", "acme", "Acme Bank", "--country", "in", "--reserved")
    assert approved == "Acme Bank is approved for acme in IN.\n"
    assert "Casino is rejected" in said("reject", "acme", "Casino", "--note", "complaints")
    table = said("list", "--tenant", "acme")
    for shown in ("Acme Bank", "approved, reserved", "IN", "rejected", "complaints"):
        assert shown in table
    senders = json.loads(said("list", "--json"))["senders"]
    assert [(one["sender"], one["status"]) for one in senders] == [
        ("Acme Bank", "approved"),
        ("Casino", "rejected"),
    ]
    assert "is removed" in said("remove", "acme", "acme bank", "--yes")
    assert [one["sender"] for one in json.loads(said("list", "--json"))["senders"]] == ["Casino"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("approve", "acme", "FarTooLongName"), "1 to 11 letters"),
        (("approve", "nobody", "Acme"), "no tenant of this id"),
        (("approve", "acme", "Acme", "--country", "Denmark"), "/countries/0"),
        (("remove", "acme", "Acme", "--yes"), "no sender of this name"),
        (("remove", "acme", "Acme"), "say --yes"),
    ],
)
def test_what_cannot_be_done_is_said(said, run, arguments, told):
    result = run("senders", *arguments)
    assert result.exit_code != 0
    assert told in result.stderr
