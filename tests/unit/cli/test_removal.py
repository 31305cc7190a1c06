"""Whatever removes something asks on a terminal, and elsewhere wants to be told --yes."""

from __future__ import annotations

import click
import pytest

from infra.cli.main import hermes

REMOVALS = {
    ("adapters", "remove"): ("acme",),
    ("callbacks", "remove"): ("cbe_1",),
    ("carriers", "remove"): ("telia",),
    ("prices", "remove"): ("price_1",),
    ("recipients", "erase"): ("--to", "sms=+4520123456"),
    ("routes", "remove"): ("dk",),
    ("senders", "remove"): ("acme", "Acme"),
    ("suppressions", "remove"): ("sup_07JYQ3V5R9M2A",),
    ("templates", "remove"): ("visit",),
}


def test_every_removal_is_here():
    found = set()
    context = click.Context(hermes)
    for name in hermes.list_commands(context):
        group = hermes.get_command(context, name)
        verbs = group.list_commands(context) if isinstance(group, click.Group) else ()
        found |= {(name, verb) for verb in verbs if verb in ("remove", "erase")}
    assert found == set(REMOVALS)


@pytest.fixture
def removed(api, run, in_empty_directory, monkeypatch):
    """Runs a removal; whether something was asked of the API, and the result."""
    monkeypatch.setenv("HERMES_API_URL", api.url)
    monkeypatch.setenv("HERMES_API_KEY", "hk_test")
    monkeypatch.setenv("HERMES_ADMIN__KEY", "an-operators-key-of-32-characters")

    def removed(*arguments):
        result = run(*arguments)
        return bool(api.requests), result

    return removed


@pytest.mark.parametrize("path", REMOVALS, ids=" ".join)
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["", "json"])
def test_without_a_terminal_it_is_refused(removed, path, more):
    asked, result = removed(*path, *REMOVALS[path], *more)
    assert (asked, result.exit_code) == (False, 2)
    assert "would be removed: say --yes" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("path", REMOVALS, ids=" ".join)
def test_on_a_terminal_it_is_asked(removed, on_terminal, path):
    on_terminal()
    asked, result = removed(*path, *REMOVALS[path])
    assert (asked, result.exit_code) == (False, 1)
    assert "? [y/N]" in result.stderr
