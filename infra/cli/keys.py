"""`hermes keys`: the tenants' API keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.text import Text

from infra.cli.administration import Administration, database, with_administration
from infra.cli.client import load_settings
from infra.cli.console import as_json, console, print_json, say, seconds
from infra.cli.durations import Duration
from infra.cli.plain_table import day, plain_table
from infra.local.demo_keys import DEMO_TENANTS, read_demo_keys

Json = dict[str, Any]
_PAGE = 500
_SHOWN_ONCE = "Shown this once. Use it as HERMES_API_KEY, or as a bearer token."
_MODES = ("live", "test")
_STYLES = {"active": "good", "replaced": "warn", "expired": "quiet", "revoked": "quiet"}


@click.group()
def keys() -> None:
    """Create, replace and revoke API keys.

    \b
      hermes keys create acme --note shop --scope messages:send --scope read
      hermes keys create acme --test
      hermes keys rotate 3fa9c1d20b7e --grace 7d

    Only a key's hash is stored. A change is known to every process within a second.
    """


@keys.command()
@click.argument("tenant")
@click.option("--note", default="", help="What the key is for; shown in the list.")
@click.option("--test", "mode", flag_value="test", help="Its messages reach simulators only.")
@click.option("--scope", "scopes", multiple=True, help="What it may do; several; all if none.")
@click.option("--expires", type=Duration(), metavar="DURATION", help="When it ends: 90d, 12h.")
@click.option("--new-tenant", is_flag=True, help="Make the tenant too, should it not exist.")
@as_json
@with_administration
def create(
    admin: Administration,
    tenant: str,
    note: str,
    mode: str | None,
    scopes: tuple[str, ...],
    expires: float | None,
    new_tenant: bool,
    json_output: bool,
) -> None:
    """Create a key for TENANT. It is shown once; only its hash is stored."""
    if new_tenant:
        _make_sure_of(admin, tenant)
    wanted: Json = {"tenant": tenant, "note": note, "mode": mode or "live"}
    if scopes:
        wanted["scopes"] = _scopes(scopes)
    if expires is not None:
        wanted["expires_at"] = (datetime.now(UTC) + timedelta(seconds=expires)).isoformat()
    try:
        made = admin.ask("POST", "keys", wanted)
    except click.ClickException as error:
        if _code(error) == "tenant_not_found":
            raise click.ClickException(
                f"There is no tenant {tenant}; --new-tenant makes one."
            ) from None
        raise
    if json_output:
        print_json({**made["made"], "key": made["key"]})
        return
    click.echo(made["key"])
    say(_SHOWN_ONCE, "quiet")


@keys.command("list")
@click.option("--tenant", help="Only this tenant's.")
@as_json
@with_administration
def list_keys(admin: Administration, tenant: str | None, json_output: bool) -> None:
    """List the keys, without the keys themselves."""
    found = list(_every_key(admin, tenant))
    if json_output:
        print_json(found)
        return
    out = console()
    if not found:
        out.print("No keys.", style="quiet")
        return
    table = plain_table("id", "tenant", "mode", "status", "created", "last used", "note", "may")
    for key in found:
        state, said = _state(key)
        table.add_row(
            key["id"],
            key["tenant"],
            Text(key["mode"], style="warn" if key["mode"] == "test" else ""),
            Text(said, style=_STYLES[state]),
            day(key["created_at"]),
            day(key["last_used_at"]) or Text("never", style="quiet"),
            Text(key["note"]),
            _may(key["scopes"]),
            style="quiet" if state in ("expired", "revoked") else "",
        )
    out.print(table)


@keys.command("set")
@click.argument("key_id")
@click.option("--note", help="What the key is for.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, in the place of before.")
@click.option("--expires", type=Duration(), metavar="DURATION", help="When it ends: 90d, 12h.")
@as_json
@with_administration
def change(
    admin: Administration,
    key_id: str,
    note: str | None,
    scopes: tuple[str, ...],
    expires: float | None,
    json_output: bool,
) -> None:
    """Change the key with the id KEY_ID, as `hermes keys list` shows it."""
    wanted: Json = {}
    if note is not None:
        wanted["note"] = note
    if scopes:
        wanted["scopes"] = _scopes(scopes)
    if expires is not None:
        wanted["expires_at"] = (datetime.now(UTC) + timedelta(seconds=expires)).isoformat()
    if not wanted:
        raise click.UsageError("say what to change: --note, --scope, --expires")
    changed = admin.ask("PATCH", f"keys/{key_id}", wanted)
    if json_output:
        print_json(changed)
    else:
        click.echo(f"{key_id} is changed.")


@keys.command()
@click.argument("key_id")
@click.option(
    "--grace", type=Duration(), default="1d", metavar="DURATION",
    help="How long the old one stays good: 1d, 12h, 0s.", show_default=True,
)  # fmt: skip
@as_json
@with_administration
def rotate(admin: Administration, key_id: str, grace: float, json_output: bool) -> None:
    """Make a key in the place of KEY_ID, with the same rights.

    Both are good for a while, so that you can put the new one to use everywhere.
    """
    made = admin.ask("POST", f"keys/{key_id}/rotate", {"grace": grace})
    if json_output:
        print_json({**made["made"], "key": made["key"], "replaced": made["replaced"]})
        return
    click.echo(made["key"])
    say(_SHOWN_ONCE, "quiet")
    left = f"is good for another {seconds(grace)}" if grace else "is worthless"
    say(f"{key_id} {left}.", "quiet")


@keys.command()
@click.argument("key_id")
@as_json
@with_administration
def revoke(admin: Administration, key_id: str, json_output: bool) -> None:
    """Revoke the key with the id KEY_ID, as `hermes keys list` shows it."""
    try:
        admin.ask("DELETE", f"keys/{key_id}")
    except click.ClickException as error:
        if _code(error) == "key_not_found":
            raise click.ClickException(f"There is no key with the id {key_id}.") from None
        raise
    if json_output:
        print_json({"id": key_id, "revoked": True})
    else:
        click.echo(f"{key_id} is revoked; every process knows within a second.")


@keys.command()
@click.argument("tenant", type=click.Choice(DEMO_TENANTS), default=DEMO_TENANTS[0])
def demo(tenant: str) -> None:
    """Print the key that `hermes up` made for a demo TENANT, for use in scripts."""
    try:
        made = read_demo_keys(load_settings().data_dir)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if tenant not in made:
        raise click.ClickException(f"There is no demo key for {tenant} yet; `hermes up` makes it.")
    click.echo(made[tenant])


@keys.command("webhook-secret")
@click.argument("tenant")
def show_webhook_secret(tenant: str) -> None:
    """Print the secret that signs TENANT's status callbacks (Standard Webhooks)."""
    from adapters.store.tenants import UnknownTenant, webhook_secret

    try:
        click.echo(webhook_secret(database(), tenant))
    except UnknownTenant:
        raise click.ClickException(f"There is no tenant {tenant}.") from None


def _make_sure_of(admin: Administration, tenant: str) -> None:
    try:
        admin.ask("POST", "tenants", {"id": tenant})
    except click.ClickException as error:
        if _code(error) != "tenant_exists":
            raise


def _every_key(admin: Administration, tenant: str | None) -> Iterator[Json]:
    cursor: str | None = None
    while True:
        page = admin.ask("GET", "keys", tenant=tenant, limit=_PAGE, cursor=cursor)
        yield from page["keys"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _scopes(names: tuple[str, ...]) -> list[str]:
    from domain.tenancy import Scope

    known = {scope.value: scope.meaning for scope in Scope}
    wrong = [name for name in names if name not in known]
    if wrong:
        lines = "\n".join(f"  {name}: {meaning}" for name, meaning in known.items())
        raise click.UsageError(f"there is no scope {wrong[0]}; there are\n{lines}")
    return list(names)


def _state(key: Json) -> tuple[str, str]:
    """What a key is worth: a word, and that with when."""
    if key["revoked_at"]:
        return "revoked", "revoked"
    if key["expires_at"] is None:
        return "active", "active"
    left = (datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)).total_seconds()
    if left <= 0:
        return "expired", "expired"
    if key["replaced_by"]:
        return "replaced", f"{seconds(left)} left"
    return "active", f"{seconds(left)} left"


def _may(scopes: list[str]) -> Text:
    from domain.tenancy import Scope

    if len(scopes) == len(Scope):
        return Text("everything", style="quiet")
    return Text(" ".join(scopes) or "nothing")


def _code(error: click.ClickException) -> str | None:
    problem: Json = getattr(error, "problem", None) or {}
    code: str | None = problem.get("code")
    return code
